"""No secret shows in a log, in Redis, in an answer, or in a list of processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.model.deployment import Status
from tests.support.guarded import PASSWORDS, GuardedInstallation, as_test, command_lines
from tests.support.installation import app_files
from tests.support.processes import wait_for
from tests.support.receiver import everything, push_body
from tests.support.signatures import gitea_headers, signed

WEBHOOK, TOKEN = "canary-webhook-4b1d0c", "canary-token-93ae51"
API_KEY, INDEX, FILE = "canary-key-77c2f0", "canary-index-1c88d5", "canary-file-e01b3a"
BAD = "canary-bad-signature-5512aa"
# The output of a build that prints its secrets.
TALKS = [["sh", "-c", 'echo "the key is $API_KEY"; env; cat .env; echo "$API_KEY" >&2']]
FAILS = [["sh", "-c", 'echo "$API_KEY is refused by https://me:$INDEX_TOKEN@index.example.org/"; exit 1']]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedInstallation]:
    """A whole hookd that was given a canary wherever it is given a secret, and has used each."""
    directory = tmp_path_factory.mktemp("canaries")
    (directory / "token").write_text(TOKEN)
    (directory / "env").write_text(f"API_KEY={API_KEY}\nINDEX_TOKEN={INDEX}\n")
    settings = {"receiver": {"public_status": False, "token_file": directory / "token"}}
    with GuardedInstallation(directory, settings=settings) as installation:
        for app, commands in (("shop", TALKS), ("broken", FAILS)):
            build = {"commands": commands, "environment_file": directory / "env"}
            installation.add_app(app, handover="restart", build=build, shared={"files": [".env"]})
            shared = directory / "srv" / app / "shared"
            shared.mkdir()
            (shared / ".env").write_text(f"DATABASE_PASSWORD={FILE}\n")
            installation.repositories[app].commit_and_push(app_files("one"))
        installation.start_redis()
        installation.start_manager()
        for app in ("shop", "broken"):  # Each of the others wrote what tests have there otherwise.
            (directory / "secrets" / app).write_text(WEBHOOK)
        installation.start_receiver()
        installation.start_worker()
        used(installation)
        yield installation


def used(site: GuardedInstallation) -> None:
    """Let everything happen that has a secret in it."""
    for app, status in (("shop", Status.SUCCEEDED), ("broken", Status.FAILED)):
        body = push_body(app, after=site.repositories[app].head())
        answer = site.post(f"/hooks/{app}", body, gitea_headers(body, secret=WEBHOOK))
        assert answer[0] == 202
        assert site.wait_for_ending(answer[1]["deployment"]).status is status
        for headers in (
            gitea_headers(body, secret=BAD),
            {**gitea_headers(body), "X-Gitea-Signature": f"sha256={BAD}"},
            {**gitea_headers(body), "Authorization": f"Bearer {TOKEN}"},
        ):
            assert site.post(f"/hooks/{app}", body, headers)[0] == 401
    assert site.post("/apps", b"", {"Authorization": f"Bearer {TOKEN}x"}, method="GET")[0] == 401
    wait_for(lambda: "refusals" in everything_in(site), what="the refusals")


def everything_in(site: GuardedInstallation) -> str:
    with as_test(site.plain_url) as client:
        return everything(client)


def hidden(site: GuardedInstallation) -> dict[str, str]:
    """Return every secret by its kind."""
    body = push_body("shop", after=site.repositories["shop"].head())
    secrets = {"webhook": WEBHOOK, "token": TOKEN, "variable": API_KEY, "credential": INDEX, "file": FILE}
    passwords = {f"password of {role}": password for role, password in PASSWORDS.items()}
    return {**secrets, **passwords, "signature": signed(body, WEBHOOK), "wrong": signed(body, BAD), "bad": BAD}


def shown(text: str, site: GuardedInstallation) -> list[str]:
    """Return the secrets in a text."""
    return [what for what, secret in hidden(site).items() if secret in text]


@pytest.mark.threat(21)
def test_no_log_holds_a_secret(site: GuardedInstallation) -> None:
    logs = {path: path.read_text() for path in (*site.directory.glob("*.log"), *site.directory.glob("state/logs/*/*"))}
    assert len(logs) >= 5
    text = "".join(logs.values())
    assert "the key is ***" in text and "refused signature" in text, "there was something to hide"
    assert {str(path): shown(log, site) for path, log in logs.items() if shown(log, site)} == {}


@pytest.mark.threat(21)
def test_redis_holds_no_secret(site: GuardedInstallation) -> None:
    text = everything_in(site)
    assert "X-Gitea-Signature" in text, "which check failed is kept"
    assert shown(text, site) == []


PAGES = ["/apps", "/apps/{}", "/apps/{}/decisions", "/metrics", "/deployments/{id}", "/deployments/{id}/log"]


@pytest.mark.threat(21)
@pytest.mark.parametrize("app", ["shop", "broken"])
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("token", [TOKEN, "another"])
def test_no_page_holds_a_secret(site: GuardedInstallation, page: str, app: str, token: str) -> None:
    last = site.records.history(app, 1)[0].id
    path = page.format(app, id=last)
    status, answer, headers = site.post(path, b"", {"Authorization": f"Bearer {token}"}, method="GET")
    assert status == (200 if token == TOKEN else 401)
    assert shown(f"{answer}{headers}", site) == []


@pytest.mark.threat(21)
def test_answers_hold_no_secret(site: GuardedInstallation) -> None:
    body = push_body("shop")
    for secret in (WEBHOOK, BAD):
        _, answer, headers = site.post("/hooks/shop", body, gitea_headers(body, secret=secret))
        assert shown(f"{answer}{headers}", site) == []
        assert signed(body, WEBHOOK) not in f"{answer}{headers}"


@pytest.mark.threat(21)
def test_no_command_line_holds_a_secret(site: GuardedInstallation) -> None:
    assert "hookd.cli" in command_lines()
    assert shown(command_lines(), site) == []


@pytest.mark.threat(21)
def test_worker_has_no_receiver_secrets(site: GuardedInstallation) -> None:
    setting = f"HOOKD_CONFIG={site.config_path}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "environ").read_bytes()
        except OSError:
            continue
        if setting in text.split(b"\0"):
            found.append(text.decode("utf-8", "replace"))
    assert len(found) >= 3
    assert [what for text in found for what in shown(text, site)] == []
