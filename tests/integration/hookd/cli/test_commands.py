"""The command line as a person and a script use it: what is printed, how it ends, and never a traceback."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hookd.model.deployment import Status, Trigger
from hookd.model.redis_keys import app_status_key
from hookd.queue.published import Quarantine, publish_status
from tests.support.installation import Installation, app_files
from tests.support.processes import python, running, wait_for
from tests.support.typed import hookd


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with one app that has been deployed once."""
    with Installation(tmp_path_factory.mktemp("cli")) as installation:
        repository = installation.add_app("shop", health={"deadline": 15})
        repository.commit_and_push(app_files("one"), "The shop opens")
        installation.start()
        assert installation.deploy("shop").status is Status.SUCCEEDED
        yield installation


@pytest.mark.promise(44)
def test_deploy_shows_steps(shop: Installation) -> None:
    done = hookd(shop, "deploy", "shop")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("shop-") and "/" not in lines[0], "no URL without its host"
    steps = [line.split()[1] for line in lines if line.startswith("  ✓")]
    assert steps[:5] == ["disk_space", "fetch", "checkout", "shared_files", "dependencies"]
    assert lines[-1].startswith("succeeded shop ") and "The shop opens" in lines[-1]


@pytest.mark.promise(54)
def test_a_script_gets_one_json_document(shop: Installation) -> None:
    record = json.loads(hookd(shop, "deploy", "shop", "--json").stdout)
    assert record["status"] == "succeeded"
    assert record["trigger"] == "manual"


@pytest.mark.promise(54)
def test_no_wait_prints_the_id(shop: Installation) -> None:
    done = hookd(shop, "deploy", "shop", "--no-wait")
    assert done.returncode == 0
    assert shop.wait_for_ending(done.stdout.split()[0]).status is Status.SUCCEEDED


@pytest.mark.promise(55)
def test_ctrl_c_leaves_the_deployment(shop: Installation, tmp_path: Path) -> None:
    go = tmp_path / "go"
    shop.change_app("shop", build={"commands": [["sh", "-c", f"until test -e {go}; do sleep 0.05; done"]]})
    log = tmp_path / "log"
    with running(python("-m", "hookd.cli", "deploy", "shop"), log, shop.environment) as watching:
        wait_for(lambda: "✓ share" in log.read_text(), what="the build")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 130
    shop.change_app("shop", build={"commands": []})
    deployment = log.read_text().split()[0]
    assert "interrupted, the deployment goes on" in log.read_text()
    assert f"next: hookd logs {deployment} --follow" in log.read_text()
    assert shop.records.get(deployment).status is Status.RUNNING
    go.touch()
    assert shop.wait_for_ending(deployment).status is Status.SUCCEEDED


def test_unknown_commit_exits_1(shop: Installation) -> None:
    done = hookd(shop, "deploy", "shop", "--commit", "abcdef1")
    assert done.returncode == 1
    assert "failed shop" in done.stdout and "abcdef1 is not in" in done.stdout


@pytest.mark.promise(56)
def test_rolled_back_exits_3(shop: Installation) -> None:
    repository = shop.repositories["shop"]
    repository.commit_and_push(app_files("bad", health="500 Oops"), "Count the orders")
    done = hookd(shop, "deploy", "shop")
    repository.commit_and_push(app_files("one"), "Mend it")
    assert done.returncode == 3
    assert "rolled back shop" in done.stdout and "answered 500" in done.stdout
    assert hookd(shop, "deploy", "shop").returncode == 0


def test_rollback_goes_to_the_release_before(shop: Installation) -> None:
    shop.repositories["shop"].commit_and_push(app_files("two"), "Second")
    assert hookd(shop, "deploy", "shop").returncode == 0
    assert shop.serving() == "two"
    done = hookd(shop, "rollback", "shop")
    assert done.returncode == 0, done.stdout
    assert shop.serving() == "one"
    assert done.stdout.endswith("  pinned until a newer push\n  next: hookd unpin shop\n")
    assert "pinned" in hookd(shop, "status", "shop").stdout
    assert hookd(shop, "unpin", "shop").returncode == 0
    assert "pinned" not in hookd(shop, "status", "shop").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy", "nope"), "there is no app 'nope', there are: shop"),
        (("deploy", "shop", "--commit", "--upload-pack=x"), "is not a commit"),
        (("rollback", "shop", "--to", "main"), "is not a commit"),
        (("logs", "nope"), "there is no app or deployment 'nope', there are: shop"),
        (("logs", "shop-20200101T000000000-abcdef"), "there is no app or deployment"),
        (("send", "nope"), "there is no app"),
        (("status", "nope"), "there is no app"),
        (("unpin", "shop"), "hookd: shop is not pinned\n  next: hookd update shop\n"),
        (("worker", "--name", "a b"), "'a b' cannot name a worker"),
        (("statu",), "hookd: no such command 'statu'. Did you mean 'status'?\n"),
        (("deploy", "--commit"), "requires an argument\n  next: hookd deploy --help\n"),
        (("--json", "status"), "hookd: no such option '--json'\n"),
        (("--confg", "status"), "Did you mean '--config'?"),
        (("status", "--nope"), "hookd: no such option"),
        (("--nope",), "hookd: no such option"),
    ],
)
def test_mistakes_are_explained(shop: Installation, arguments: tuple[str, ...], said: str) -> None:
    done = hookd(shop, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_status_shows_health(shop: Installation) -> None:
    table = hookd(shop, "status").stdout
    assert "shop" in table and ", healthy" in table
    shown = json.loads(hookd(shop, "status", "shop", "--json").stdout)
    assert shown["healthy"] is True
    assert shown["deployments"][0]["app"] == "shop"
    last = shown["deployments"][0]["id"]
    assert last in hookd(shop, "status", "shop").stdout, "an id is never cut"


def test_logs_of_an_app(shop: Installation) -> None:
    record = shop.deploy("shop")
    printed = hookd(shop, "logs", "shop")
    assert printed.stdout == shop.log_of(record)
    assert "succeeded" in printed.stderr
    assert hookd(shop, "logs", record.id).stdout == printed.stdout


def test_follow_ends_with_the_deployment(shop: Installation) -> None:
    shop.change_app("shop", build={"commands": [["sh", "-c", "echo begun; sleep 1; echo done"]]})
    started = hookd(shop, "deploy", "shop", "--no-wait").stdout.split()[0]
    followed = hookd(shop, "logs", started, "--follow")
    shop.change_app("shop", build={"commands": []})
    assert "begun" in followed.stdout and "succeeded: shop serves" in followed.stdout
    assert shop.records.get(started).status is Status.SUCCEEDED


@pytest.mark.promise(49)
def test_send_deploys(shop: Installation) -> None:
    done = hookd(shop, "send", "shop", "--wait")
    assert done.returncode == 0, done.stderr
    assert "unchanged shop" in done.stdout or "succeeded shop" in done.stdout


def test_each_send_is_a_push(shop: Installation) -> None:
    answers = [json.loads(hookd(shop, "send", "shop", "--json").stdout) for _ in range(2)]
    assert {answer["status"] for answer in answers} <= {"queued", "coalesced"}
    shop.wait_for_ending(answers[-1]["deployment"])


@pytest.mark.promise(49)
def test_post_receive_sends_each_ref(shop: Installation) -> None:
    moved = "1" * 40 + " " + "2" * 40
    done = hookd(shop, "send", "shop", "--post-receive", stdin=f"{moved} refs/heads/other\n{moved} refs/heads/main\n")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "ignored: another branch, this app deploys main"
    assert second.startswith("queued: shop-")
    record = shop.wait_for_ending(second.split()[1])
    assert (record.trigger, record.claimed_commit) == (Trigger.PUSH, "2" * 40)


def test_wrong_secret_is_refused(shop: Installation) -> None:
    file = shop.directory / "secrets" / "shop"
    right = file.read_text()
    file.write_text("not the receiver's secret\n")
    done = hookd(shop, "send", "shop")
    file.write_text(right)
    assert done.returncode == 1
    assert "the receiver answered 401" in done.stderr
    assert done.stderr.endswith("\n  next: hookd why shop --refused\n")


@pytest.mark.parametrize("stdin", ["", "one two\n", f"{'1' * 40} {'2' * 40} refs/heads/main\nrest\n"])
def test_invalid_post_receive_input(shop: Installation, stdin: str) -> None:
    done = hookd(shop, "send", "shop", "--post-receive", stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("\n  next: hookd send shop\n")


def test_a_broken_configuration_is_shown_whole(shop: Installation) -> None:
    file = shop.directory / "apps" / "shop.toml"
    right = file.read_text()
    file.write_text(right.replace('"branch"', '"brunch"') + '\n[halth]\nurl = "x"\n')
    done = hookd(shop, "status")
    file.write_text(right)
    assert done.returncode == 2
    assert f"{file}: halth: unknown key" in done.stderr
    assert f"next: ${{EDITOR:-vi}} {file}" in done.stderr


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--json"), ("status", "shop")])
def test_closed_pipe_is_silent(shop: Installation, arguments: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = python("-m", "hookd.cli", *arguments)
    with os.fdopen(theirs, "wb") as gone:
        done = subprocess.run(
            command, env=shop.environment, stdout=gone, stderr=subprocess.PIPE, timeout=90, check=False, text=True
        )
    assert done.stderr == ""


@pytest.mark.promise(57)
def test_receiver_away_exits_6(shop: Installation) -> None:
    config = shop.config_path
    right = config.read_text()
    config.write_text(right.replace(f"127.0.0.1:{shop.port}", "127.0.0.1:9"))
    done = hookd(shop, "send", "shop")
    config.write_text(right)
    assert done.returncode == 6
    assert "the receiver at 127.0.0.1:9 does not answer" in done.stderr
    assert done.stderr.endswith("  next: hookd serve\n")


def test_second_embedded_redis_is_refused(shop: Installation) -> None:
    done = hookd(shop, "redis")
    assert done.returncode == 2
    assert "a Redis answers at" in done.stderr
    assert done.stderr.endswith("  next: hookd status\n")


def test_taken_port_is_reported(shop: Installation) -> None:
    done = hookd(shop, "serve")
    assert done.returncode == 2
    assert f"the receiver cannot start at 127.0.0.1:{shop.port}" in done.stderr


def test_foreign_text_is_escaped(shop: Installation) -> None:
    key = app_status_key("shop")
    view = shop.status("shop")
    bad = Quarantine(commit="1" * 40, since=datetime.now(UTC), cause="\x1b]0;title\x07[red]x[/]")
    publish_status(shop.records.connection, view.model_copy(update={"quarantined": (bad,)}))
    printed = hookd(shop, "status", "shop").stdout
    shop.records.connection.delete(key)
    publish_status(shop.records.connection, view)
    assert "\x1b" not in printed
    assert r"\x1b]0;title\x07[red]x[/]" in printed
