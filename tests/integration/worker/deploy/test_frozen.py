"""A frozen app gets no deployment. Pushes are recorded, and the head is deployed after the thaw."""

import json
import os
import re
import shlex
import shutil
import sys
from contextlib import redirect_stderr, suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from hookd import freezes
from hookd.cli import main
from hookd.model.decision import Freeze, Verdict
from hookd.model.deployment import Status, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.queue.published import read_decisions
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for
from tests.support.typed import hookd
from tests.support.users import as_nobody, needs_root, open_directory

APPS: dict[str, dict[str, Any]] = {name: {"handover": "restart"} for name in ("shop", "typed", "closed")}


def frozen(site: Installation, app: str, **over: Any) -> Freeze:
    """Freeze an app as the command does."""
    freeze = Freeze(**{"reason": "the sale", "since": datetime.now(UTC), "by": "anna", **over})
    freezes.freeze(site.config.freeze_directory, app, freeze)
    return freeze


@pytest.mark.threat(42)
@pytest.mark.promise(29, 47)
def test_freeze_and_thaw(site: Installation) -> None:
    site.ship("shop", app_files("earlier"))
    one = site.ship("shop", app_files("one"))
    freeze = frozen(site, "shop")
    site.repositories["shop"].commit_and_push(app_files("two"))
    assert site.send_push("shop") == {"status": "frozen", "reason": str(freeze)}
    pushed = site.deploy("shop", Trigger.PUSH)
    assert (pushed.status, pushed.cause, pushed.hint) == (Status.UNCHANGED, str(freeze), Hint(HintKind.THAW))
    for trigger in Trigger:
        asked = site.deploy("shop", trigger)
        assert (asked.status, asked.release) == (Status.UNCHANGED, None), trigger
    assert (site.serving("shop"), site.current("shop").name) == ("one", one.release)
    view = site.status("shop")
    assert (view.head, view.deployed_commit) == (pushed.commit, one.commit), "the head is known all the same"
    done = hookd(site, "thaw", "shop")
    assert (done.returncode, site.serving("shop")) == (0, "two"), done.stderr
    assert done.stdout.startswith("shop is no longer frozen\n")


@pytest.mark.threat(42)
def test_freeze_during_build(site: Installation) -> None:
    one = site.ship("shop", app_files("before the freeze"))
    before = set(site.root("shop").joinpath("releases").iterdir())
    gate = site.directory / "gate"
    os.mkfifo(gate)
    site.change_app("shop", build={"commands": [["cat", str(gate)]]}, release={"commands": [["touch", "../migrated"]]})
    site.repositories["shop"].commit_and_push(app_files("frozen"))
    asked = site.send_push("shop")["deployment"]
    site.wait_for_step(asked, "build")
    freeze = frozen(site, "shop")
    gate.write_text("go on")
    record = site.wait_for_ending(asked)
    assert (record.status, record.cause) == (Status.UNCHANGED, str(freeze))
    assert (site.serving("shop"), site.current("shop").name) == ("before the freeze", one.release)
    # A migration belongs to what is not deployed, and what was built for nothing is gone.
    assert set(site.root("shop").joinpath("releases").iterdir()) == before
    site.change_app("shop", build={"commands": []}, release={"commands": []})
    freezes.thaw(site.config.freeze_directory, "shop")


@pytest.mark.promise(29)
def test_freeze_ends_by_itself(site: Installation) -> None:
    until = datetime.now(UTC) + timedelta(seconds=8)
    site.repositories["shop"].commit_and_push(app_files("not yet"))
    frozen(site, "shop", until=until)
    assert site.deploy("shop", Trigger.PUSH).status is Status.UNCHANGED
    wait_for(lambda: datetime.now(UTC) > until, what="the end of the freeze")
    assert site.push_and_wait("shop").status is Status.SUCCEEDED


@pytest.mark.threat(42)
def test_unreadable_freeze_holds(site: Installation) -> None:
    site.repositories["closed"].commit_and_push(app_files("one"))
    frozen(site, "closed")
    (site.config.freeze_directory / "closed").write_text("{")
    record = site.deploy("closed", Trigger.PUSH)
    assert record.status is Status.UNCHANGED
    assert f"its file {site.config.freeze_directory / 'closed'} cannot be read" in str(record.cause)
    assert hookd(site, "thaw", "closed").returncode == 0
    assert site.serving("closed") == "one"


def test_freeze_is_published(site: Installation) -> None:
    freeze = frozen(site, "closed", until=datetime.now(UTC) + timedelta(days=1))
    shown = freeze.model_dump(mode="json")
    site.deploy("closed", Trigger.PUSH)
    for page in ("/apps/closed", "/apps"):
        _, answer, _ = site.post(page, b"", {}, method="GET")
        found = answer if page == "/apps/closed" else next(app for app in answer["apps"] if app["app"] == "closed")
        assert found["frozen"] == shown
    assert str(freeze) in hookd(site, "status").stdout
    assert f"{freeze}\n  next: hookd thaw closed" in hookd(site, "status", "closed").stdout
    assert json.loads(hookd(site, "status", "closed", "--json").stdout)["frozen"] == shown
    decision = read_decisions(site.records.connection, "closed", 1)[0]
    assert (decision.verdict, decision.why) == (Verdict.FROZEN, str(freeze))
    freezes.thaw(site.config.freeze_directory, "closed")
    _, answer, _ = site.post("/apps/closed", b"", {}, method="GET")
    assert answer["frozen"] is None


@pytest.mark.parametrize("command", ["deploy", "update", "rollback", "unpin"])
def test_manual_deploy_of_frozen_app(site: Installation, command: str) -> None:
    freeze = frozen(site, "typed")
    done = hookd(site, command, "typed")
    assert done.returncode == 2
    assert done.stderr == f"hookd: typed is {freeze}\n  next: hookd thaw typed\n"
    assert site.records.history("typed", 9) == []


def test_freeze_again(site: Installation) -> None:
    freezes.thaw(site.config.freeze_directory, "typed")
    first = hookd(site, "freeze", "typed", "--reason", "  the\nsale ")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == (
        "typed is frozen: the sale\n  pushes are recorded and not deployed\n  next: hookd thaw typed\n"
    )
    before = freezes.active_freeze(site.config.freeze_directory, "typed", datetime.now(UTC))
    again = hookd(site, "freeze", "typed", "--reason", "stocktaking", "--until", "2h")
    after = freezes.active_freeze(site.config.freeze_directory, "typed", datetime.now(UTC))
    assert before is not None and after is not None and after.until is not None
    assert (after.reason, after.since) == ("stocktaking", before.since)
    assert f"typed is frozen until {after.until:%Y-%m-%d %H:%M} UTC" in again.stdout
    assert f"  before: {before}\n" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("typed", "--reason", "x", "--until", "2020-01-01"), "is in the past"),
        (("typed", "--reason", "x", "--until", "soon"), "'soon' is not a time"),
        (("typed", "--reason", "x", "--until", "99999d"), "is more than a year away"),
        (("typed", "--reason", " "), "a reason has 1 to 300 characters"),
        (("typed", "--reason", "x" * 301), "a reason has 1 to 300 characters"),
        (("nope", "--reason", "x"), "there is no app 'nope'"),
        (("typed",), "hookd: missing option '--reason'\n  next: main freeze --help\n"),
    ],
)
def test_invalid_freeze(site: Installation, arguments: tuple[str, ...], said: str) -> None:
    freezes.thaw(site.config.freeze_directory, "typed")
    done = hookd(site, "freeze", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert freezes.active_freeze(site.config.freeze_directory, "typed", datetime.now(UTC)) is None


@pytest.mark.promise(48)
def test_thaw_without_deployment(site: Installation) -> None:
    frozen(site, "typed")
    for said in ("typed is no longer frozen", "typed is not frozen"):
        done = hookd(site, "thaw", "typed", "--no-deploy")
        assert (done.returncode, done.stdout) == (0, f"{said}\n  next: hookd update typed\n")
    assert hookd(site, "thaw", "typed").stdout.startswith("typed is not frozen\n")
    assert site.records.history("typed", 9) == []


def test_freeze_history(site: Installation) -> None:
    assert hookd(site, "freeze", "closed", "--reason", "the sale").returncode == 0
    site.repositories["closed"].commit_and_push(app_files("two"))
    assert site.deploy("closed", Trigger.PUSH).status is Status.UNCHANGED
    assert re.search(r"behind head by 1 commit for \d+ s\n", hookd(site, "status", "closed").stdout)
    assert hookd(site, "thaw", "closed", "--no-deploy").returncode == 0
    status = hookd(site, "status", "closed").stdout
    assert "the freeze has ended, no deployment since\n" in status and "  next: hookd deploy closed\n" in status
    lag = json.loads(hookd(site, "status", "closed", "--json").stdout)["lag"]
    assert (lag["verdict"], lag["why"]) == ("waiting", "the freeze has ended, no deployment since")
    kept = [one for one in read_decisions(site.records.connection, "closed", 9) if one.source == "person"][:2]
    assert [one.verdict for one in kept] == [Verdict.THAWED, Verdict.FROZEN]
    assert "frozen since" in kept[1].why
    assert hookd(site, "why", "closed").stdout.count("typed by a person") >= 2


def test_thaw_without_redis(site: Installation) -> None:
    frozen(site, "typed")
    away = site.directory / "away.toml"
    away.write_text(site.config_path.read_text().replace(site.redis_url, f"unix://{site.directory}/none.sock"))
    done = hookd(site, "--config", str(away), "thaw", "typed")
    assert (done.returncode, done.stdout) == (6, "typed is no longer frozen\n")
    assert "no deployment was requested" in done.stderr
    assert done.stderr.endswith(f"/none.sock\n  next: hookd --config {away} update typed\n")
    ended = hookd(site, "--config", str(away), "reconcile", "typed")
    assert (ended.returncode, "Redis does not answer at" in ended.stderr) == (6, True), ended.stderr


@needs_root
def test_server_command_without_server(site: Installation) -> None:
    done = hookd(site, "start", "typed")
    assert done.returncode == 2
    assert f"this command uses /etc/hookd/hookd.toml, not {site.config_path}\n" in done.stderr
    done = hookd(site, "--config", "/etc/hookd/hookd.toml", "start", "typed")
    assert done.returncode == 2
    assert "hookd is not installed on this host\n  next: sudo ./run install\n" in done.stderr


@needs_root
@pytest.mark.parametrize("arguments", [("freeze", "shop", "--reason", "mine"), ("thaw", "shop")])
def test_freeze_without_permission(site: Installation, arguments: tuple[str, ...]) -> None:
    with open_directory() as place:
        shutil.copytree(site.directory / "apps", place / "apps")
        shutil.copy(site.config_path, place / "hookd.toml")
        freeze = Freeze(reason="the sale", since=datetime.now(UTC))
        freezes.freeze(place / "frozen", "shop", freeze)
        said = as_nobody(lambda: _typed("--config", str(place / "hookd.toml"), *arguments))
        typed = shlex.join(("sudo", "hookd", "--config", str(place / "hookd.toml"), *arguments))
        assert said == f"hookd: only root can do this\n  next: {typed}\n"
        assert freezes.active_freeze(place / "frozen", "shop", datetime.now(UTC)) == freeze


def _typed(*arguments: str) -> str:
    """Run the command in this process and return its error."""
    sys.argv = ["hookd", *arguments]
    with redirect_stderr(StringIO()) as said, suppress(SystemExit):
        main()
    return said.getvalue()
