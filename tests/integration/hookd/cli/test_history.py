"""`hookd why` as a person and a script read it: how the app stands, then what was decided and why."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import Result

from hookd import freezes
from hookd.model import redis_keys
from hookd.model.decision import Decision, Freeze, Verdict
from hookd.model.deployment import Status, Trigger
from hookd.queue import published
from hookd.queue.published import AppStatus, publish_status
from tests.support.installation import Installation, app_files
from tests.support.processes import python
from tests.support.receiver import NEW, OLD, LocalReceiver
from tests.support.typed import hookd, typed

APPS = {"shop": {"handover": "restart"}}
AT = datetime(2026, 3, 4, 14, 2, 11, tzinfo=UTC)
DEPLOYMENT = "github-20260304T140211000-0a1b2c"


def why(receiver: LocalReceiver, *arguments: str) -> Result:
    return typed(receiver.config.path, "why", *arguments)


def decided(verdict: Verdict, why: str, app: str | None = "github", minutes: int = 0, **more: Any) -> Decision:
    source = "delivery" if verdict in (Verdict.IGNORED, Verdict.REFUSED) else "deployment"
    at = AT + timedelta(minutes=minutes)
    return Decision.model_validate(
        {"at": at, "app": app, "source": source, "verdict": verdict, "why": why, "event": "push", **more}
    )


@pytest.mark.threat(44)
@pytest.mark.promise(33)
def test_endings_are_recorded_as_decisions(site: Installation) -> None:
    one = site.ship("shop", app_files("one"))
    bad = site.ship("shop", app_files("bad", "500 Oops"))
    again = site.deploy("shop", Trigger.UPDATE)
    bare = site.repositories["shop"].bare
    bare.rename(bare.with_suffix(".away"))
    gone = site.deploy("shop", Trigger.UPDATE)
    bare.with_suffix(".away").rename(bare)
    found = [one for one in published.read_decisions(site.records.connection, "shop", 9) if one.source == "deployment"]
    assert [(each.deployment, each.verdict) for each in found] == [
        (gone.id, Verdict.UNREACHABLE),
        (again.id, Verdict.QUARANTINED),
        (bad.id, Verdict.ENDED),
        (one.id, Verdict.ENDED),
    ]
    assert [each.why for each in found] == [
        gone.cause,
        again.cause,
        bad.cause,
        f"{str(one.commit)[:12]} serves",
    ]
    assert [each.ending for each in found] == [None, None, Status.ROLLED_BACK, Status.SUCCEEDED]
    assert (bad.status, found[2].head, found[2].deployed) == (Status.ROLLED_BACK, bad.commit, one.commit)
    assert (found[0].head, found[0].deployed) == (None, None), "nothing was seen"
    shown = hookd(site, "why", "shop").stdout
    places = [shown.index(each.id) for each in (gone, again, bad, one)]
    assert places == sorted(places), "the newest first"
    assert f"  succeeded    {str(one.commit)[:12]} serves\n" in shown


def test_odd_causes_keep_the_decision(site: Installation) -> None:
    """A file name that is no UTF-8 may stand in what a program said."""
    site.repositories["shop"].commit_and_push(app_files("loud"))
    site.change_app("shop", build={"commands": [["sh", "-c", "printf 'caf\\351 %0500d' 1 >&2; exit 3"]]})
    record = site.deploy("shop")
    site.change_app("shop", build={"commands": []})
    assert record.status is Status.FAILED
    kept = published.read_decisions(site.records.connection, "shop", 1)[0]
    assert (kept.deployment, len(kept.why) <= 300, kept.why[-1]) == (record.id, True, "…")


@pytest.fixture
def frozen(receiver: LocalReceiver) -> Iterator[Freeze]:
    """A freeze of an app, which is thawed afterwards."""
    freeze = Freeze(reason="the sale", since=datetime.now(UTC), by="anna")
    freezes.freeze(receiver.config.freeze_directory, "github", freeze)
    yield freeze
    freezes.thaw(receiver.config.freeze_directory, "github")


@pytest.mark.threat(44)
@pytest.mark.promise(8, 33)
def test_why_shows_status_then_decisions(receiver: LocalReceiver, frozen: Freeze) -> None:
    published.append_decision(receiver.redis, decided(Verdict.ENDED, f"{OLD[:12]} serves", ending=Status.SUCCEEDED))
    published.append_decision(
        receiver.redis, decided(Verdict.FROZEN, str(frozen), deployment=DEPLOYMENT, head=NEW, minutes=1)
    )
    shown = why(receiver, "github").stdout.splitlines()
    assert shown[0] == "github  acme/github, branch main"
    assert f"  {frozen}" in shown
    assert any(line.endswith("hookd thaw github") for line in shown)
    days = [place for place, line in enumerate(shown) if re.fullmatch(r"\w+day, \d{4}-\d\d-\d\d \(.+\)", line)]
    newest, seen, oldest, *_ = shown[days[0] + 1 :]
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  frozen       {re.escape(str(frozen))}", newest)
    assert DEPLOYMENT in seen and f"head {NEW[:12]}" in seen
    assert re.fullmatch(r"\d\d:\d\d:\d\d  succeeded    1{12} serves", oldest)
    assert len(why(receiver, "github", "-n", "1").stdout.splitlines()) == days[0] + 3


def test_why_prints_one_json_document(receiver: LocalReceiver) -> None:
    publish_status(receiver.redis, AppStatus(app="github", deployed_commit=OLD))
    published.append_decision(receiver.redis, decided(Verdict.ENDED, "x", deployment=DEPLOYMENT))
    found = json.loads(why(receiver, "github", "--json").stdout)
    assert (found["app"], found["frozen"], found["deployed_commit"]) == ("github", None, OLD)
    assert found["decisions"][0]["deployment"] == DEPLOYMENT


def test_narrow_terminal_cuts_nothing(receiver: LocalReceiver) -> None:
    reason = "a reason that is rather long, and goes on, and on, until it needs a second line, if not a third one"
    published.append_decision(receiver.redis, decided(Verdict.IGNORED, reason))
    main, side = pty.openpty()
    environment = {**os.environ, "HOOKD_CONFIG": str(receiver.config.path), "COLUMNS": "60", "TERM": "xterm"}
    subprocess.run(
        python("-m", "hookd.cli", "why", "github"), env=environment, stdin=side, stdout=side, stderr=side, check=True
    )
    printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", _read(main, side)).replace("\r", "")
    after = printed[printed.index("14:02:11") if "14:02:11" in printed else printed.index("refused") :]
    assert max(map(len, after.splitlines())) <= 60
    assert reason in re.sub(r"\s+", " ", after)


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


def test_an_app_without_decisions_says_so(receiver: LocalReceiver) -> None:
    done = why(receiver, "gogs")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "  no decision yet")


def test_refusals_show_the_failed_check(receiver: LocalReceiver) -> None:
    assert why(receiver, "--refused").stdout == "  no refused signature\n"
    for app, reason, minutes in (("github", "there is no signature", 0), (None, "there is no such app", 1)):
        published.append_decision(receiver.redis, decided(Verdict.REFUSED, reason, app, minutes))
    every, of_one = (why(receiver, *more, "--refused").stdout for more in ((), ("github",)))
    assert every.index("there is no such app") < every.index("there is no signature")
    assert ("no such app" in of_one, "there is no signature" in of_one) == (False, True)
    listed = json.loads(why(receiver, "github", "--refused", "--json").stdout)
    assert [found["why"] for found in listed] == ["there is no signature"]


@pytest.mark.threat(57)
def test_forged_decisions_do_no_harm(receiver: LocalReceiver) -> None:
    stream = redis_keys.decisions_key("github")
    receiver.redis.xadd(stream, {"decision": b"\xff{"})
    receiver.redis.xadd(stream, {"other": "x"})
    for end_of_time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        spoilt = decided(Verdict.REFUSED, "x").model_dump_json().replace("2026-03-04T14:02:11Z", end_of_time)
        receiver.redis.xadd(stream, {"decision": spoilt})
    published.append_decision(receiver.redis, decided(Verdict.IGNORED, "\x1b[31m[bold]x"))
    shown = why(receiver, "github").stdout
    assert r"ignored      \x1b[31m[bold]x" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "missing argument 'APP'"), (("nope",), "there is no app 'nope'"), (("gogs", "-n", "0"), "0 is not in")],
)
def test_mistakes_are_explained(receiver: LocalReceiver, arguments: tuple[str, ...], said: str) -> None:
    done = why(receiver, *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
