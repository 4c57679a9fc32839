"""`hookd why` as a person and a script read it: how the app stands, then what was decided and why."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hookd.contract import queue as names
from hookd.contract.decision import Decision, Verdict
from hookd.contract.deployment import Status, Trigger
from hookd.contract.freeze import Freeze
from hookd.store import decisions, freezes
from tests.support.installation import Installation, app_files
from tests.support.processes import python
from tests.support.typed import hookd

APPS = {"shop": {"handover": "restart"}, "quiet": {"handover": "restart"}}
AT = datetime(2026, 3, 4, 14, 2, 11, tzinfo=UTC)


@pytest.fixture
def clean(site: Installation) -> Iterator[Installation]:
    """The installation without any decision."""
    connection = site.records.connection
    connection.delete(names.decisions_key("shop"), names.REFUSALS)
    yield site
    connection.delete(names.decisions_key("shop"), names.REFUSALS)
    freezes.thaw(site.config.frozen, "shop")


def refused(app: str | None, why: str, minutes: int = 0) -> Decision:
    at = AT + timedelta(minutes=minutes)
    return Decision(at=at, app=app, source="delivery", verdict=Verdict.REFUSED, why=why, event="push")


def test_each_ending_is_kept_with_what_was_seen_when_it_was_decided(clean: Installation) -> None:
    one = clean.ship("shop", app_files("one"))
    bad = clean.ship("shop", app_files("bad", "500 Oops"))
    again = clean.deploy("shop", Trigger.UPDATE)
    bare = clean.repositories["shop"].bare
    bare.rename(bare.with_suffix(".away"))
    gone = clean.deploy("shop", Trigger.UPDATE)
    bare.with_suffix(".away").rename(bare)
    found = [one for one in decisions.newest(clean.records.connection, "shop", 9) if one.source == "deployment"]
    assert [(each.deployment, each.verdict) for each in found] == [
        (gone.id, Verdict.UNREACHABLE),
        (again.id, Verdict.QUARANTINED),
        (bad.id, Verdict.DEPLOYED),
        (one.id, Verdict.DEPLOYED),
    ]
    assert [each.why for each in found] == [
        gone.cause,
        again.cause,
        f"rolled_back: {bad.cause}",
        f"succeeded: {str(one.commit)[:12]} serves",
    ]
    assert (bad.status, found[2].head, found[2].deployed) == (Status.ROLLED_BACK, bad.commit, one.commit)
    assert (found[0].head, found[0].deployed) == (None, None), "nothing was seen"


def test_a_person_reads_how_the_app_stands_and_then_what_was_decided(clean: Installation) -> None:
    clean.ship("shop", app_files("two"))
    freeze = Freeze(reason="the sale", since=datetime.now(UTC), by="anna")
    freezes.freeze(clean.config.frozen, "shop", freeze)
    clean.repositories["shop"].commit_and_push(app_files("three"))
    pushed = clean.deploy("shop", Trigger.PUSH)
    shown = hookd(clean, "why", "shop").stdout.splitlines()
    assert shown[0] == "shop  acme/shop, branch main"
    assert f"  {freeze}" in shown
    assert any(line.endswith("hookd thaw shop") for line in shown)
    days = [place for place, line in enumerate(shown) if re.fullmatch(r"\w+day, \d{4}-\d\d-\d\d \(.+\)", line)]
    decided = shown[days[0] + 1 :]
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  frozen       {re.escape(str(freeze))}", decided[0])
    assert pushed.id in decided[1] and f"head {str(pushed.commit)[:12]}" in decided[1]
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d  succeeded    [0-9a-f]{12} serves", line) for line in decided)
    assert len(hookd(clean, "why", "shop", "-n", "1").stdout.splitlines()) == days[0] + 3


def test_a_script_gets_the_standing_and_the_decisions_as_one_document(clean: Installation) -> None:
    record = clean.deploy("shop")
    found = json.loads(hookd(clean, "why", "shop", "--json").stdout)
    assert (found["app"], found["frozen"], found["deployed_commit"]) == ("shop", None, record.commit)
    assert found["decisions"][0]["deployment"] == record.id


def test_a_narrow_terminal_breaks_lines_and_cuts_nothing(clean: Installation) -> None:
    why = "a reason that is rather long, and goes on, and on, until it needs a second line, if not a third one"
    decisions.note(clean.records.connection, refused("shop", why))
    main, side = pty.openpty()
    environment = {**clean.environment, "COLUMNS": "60", "TERM": "xterm"}
    subprocess.run(
        python("-m", "hookd.cli", "why", "shop"), env=environment, stdin=side, stdout=side, stderr=side, check=True
    )
    printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", _read(main, side)).replace("\r", "")
    after = printed[printed.index("14:02:11") if "14:02:11" in printed else printed.index("refused") :]
    assert max(map(len, after.splitlines())) <= 60
    assert why in re.sub(r"\s+", " ", after)


def _read(main: int, side: int) -> str:
    """Read what was written to a terminal whose programs have ended."""
    os.close(side)
    pieces = []
    try:
        while piece := os.read(main, 65_536):
            pieces.append(piece)
    except OSError:
        pass
    os.close(main)
    return b"".join(pieces).decode()


def test_an_app_without_decisions_says_so(clean: Installation) -> None:
    done = hookd(clean, "why", "quiet")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "  nothing was decided yet")


def test_refused_signatures_say_which_check_failed_for_one_app_or_all(clean: Installation) -> None:
    connection = clean.records.connection
    for decision in (refused("shop", "there is no signature"), refused(None, "there is no such app", 1)):
        decisions.note_refusal(connection, decision)
    every, of_one = (hookd(clean, "why", *more, "--refused").stdout for more in ((), ("shop",)))
    assert every.index("there is no such app") < every.index("there is no signature")
    assert ("no such app" in of_one, "there is no signature" in of_one) == (False, True)
    assert [found["why"] for found in json.loads(hookd(clean, "why", "shop", "--refused", "--json").stdout)] == [
        "there is no signature"
    ]
    connection.delete(names.REFUSALS)
    assert hookd(clean, "why", "--refused").stdout == "  no signature was refused\n"


def test_what_a_stranger_put_into_redis_is_passed_over_or_escaped(clean: Installation) -> None:
    connection = clean.records.connection
    connection.xadd(names.decisions_key("shop"), {"decision": b"\xff{"})
    connection.xadd(names.decisions_key("shop"), {"other": "x"})
    for end_of_time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        spoilt = refused("shop", "x").model_dump_json().replace("2026-03-04T14:02:11Z", end_of_time)
        connection.xadd(names.decisions_key("shop"), {"decision": spoilt})
    decisions.note(connection, refused("shop", "\x1b[31m[bold]x"))
    shown = hookd(clean, "why", "shop").stdout
    assert r"refused      \x1b[31m[bold]x" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "whose decisions? Name an app"), (("nope",), "there is no app 'nope'"), (("shop", "-n", "0"), "0 is not in")],
)
def test_a_mistake_is_answered_in_a_sentence(site: Installation, arguments: tuple[str, ...], said: str) -> None:
    done = hookd(site, "why", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_cause_that_is_too_long_or_no_text_does_not_cost_the_decision(clean: Installation) -> None:
    """A file name that is no UTF-8 may stand in what a program said."""
    clean.change_app("shop", build={"commands": [["sh", "-c", "printf 'caf\\351 %0500d' 1 >&2; exit 3"]]})
    record = clean.deploy("shop")
    clean.change_app("shop", build={"commands": []})
    assert record.status is Status.FAILED
    kept = decisions.newest(clean.records.connection, "shop", 1)[0]
    assert (kept.deployment, len(kept.why), kept.why[-1]) == (record.id, 300, "…")
