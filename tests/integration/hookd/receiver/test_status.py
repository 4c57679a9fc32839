"""Status pages: access, content, and docs/api.md as their description."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from hookd.model.deployment import Status
from hookd.model.git_hosts import GitHost
from hookd.model.ids import new_deployment_id
from hookd.queue.published import AppStatus, Quarantine, publish_status
from hookd.receiver.server import build
from hookd.receiver.status_routes import MAX_DEPLOYMENTS
from tests.support import api_page
from tests.support.receiver import NEW, OLD, LocalReceiver, content, run_receiver

TOKEN = "a token with some length"
PAGES = ["/apps", "/apps/github", "/apps/github/decisions", "/metrics", "/deployments/{id}", "/deployments/{id}/log"]
OPEN = ["/healthz", "/readyz"]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalReceiver]:
    """An application that shows status only to those who bring the token."""
    directory = tmp_path_factory.mktemp("closed")
    (directory / "token").write_text(f"{TOKEN}\n")
    settings = {"public_status": False, "token_file": directory / "token"}
    with run_receiver(directory, receiver=settings) as running:
        yield running


def pushed(receiver: LocalReceiver, delivery: str = "first") -> str:
    """Send a push and return its deployment."""
    found: str = content(receiver.push(delivery=delivery))["deployment"]
    return found


@pytest.mark.threat(56)
@pytest.mark.promise(61)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "given",
    ["", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", "Bearer ", f"Basic {TOKEN}", "Bearer é", "é é"],
)
def test_pages_need_the_token(closed: LocalReceiver, page: str, given: str) -> None:
    response = closed.get(page.format(id=pushed(closed)), {"Authorization": given} if given else {})
    assert (response.status_code, content(response)) == (401, {"error": "a bearer token is required"})


@pytest.mark.parametrize("page", [*PAGES[4:], "/apps/{id}"])
def test_unknown_pages_look_alike_without_token(closed: LocalReceiver, page: str) -> None:
    unknown = closed.get(page.format(id=new_deployment_id("github", datetime.now(UTC))))
    known = closed.get(page.format(id=pushed(closed)))
    assert (unknown.status_code, unknown.data) == (known.status_code, known.data)


@pytest.mark.promise(61)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_token_opens_pages(closed: LocalReceiver, page: str, given: str) -> None:
    assert closed.get(page.format(id=pushed(closed)), {"Authorization": given}).status_code == 200


@pytest.mark.promise(62)
@pytest.mark.parametrize("page", OPEN)
def test_health_needs_no_token(closed: LocalReceiver, page: str) -> None:
    assert closed.get(page).status_code == 200


@pytest.mark.parametrize("content_of_file", ["", "\n", "  "])
def test_an_empty_token_admits_nobody(closed: LocalReceiver, content_of_file: str) -> None:
    file = closed.config.settings.receiver.token_file
    assert file is not None
    file.write_text(content_of_file)
    empty = LocalReceiver(build(closed.config), closed.redis, closed.config)
    file.write_text(TOKEN)
    for given in ("Bearer ", "Bearer", "Bearer  ", ""):
        assert empty.get("/apps", {"Authorization": given}).status_code == 401


def test_missing_token_file_stops_the_start(closed: LocalReceiver) -> None:
    file = closed.config.settings.receiver.token_file
    assert file is not None
    away = file.rename(file.with_name("away"))
    with pytest.raises(FileNotFoundError):
        build(closed.config)
    away.rename(file)


def test_a_token_may_hold_any_bytes(closed: LocalReceiver) -> None:
    file = closed.config.settings.receiver.token_file
    assert file is not None
    file.write_bytes("größer".encode())
    changed = LocalReceiver(build(closed.config), closed.redis, closed.config)
    file.write_text(TOKEN)
    sent = "größer".encode().decode("latin-1")
    assert changed.app.test_client().get("/apps", headers={"Authorization": f"Bearer {sent}"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/apps/nobody",
        "/apps/nobody/decisions",
        "/metrics/",
        "/apps/",
        "/deployments/github-20260101T000000000-abcdef",
        "/deployments/github-20260101T000000000-abcdef/log",
        "/deployments/..",
        "/deployments/%2e%2e%2fetc%2fpasswd/log",
        "/deployments/x",
        "/deployments/",
        "/deployments",
        "/",
    ],
)
def test_unknown_pages_are_404(receiver: LocalReceiver, path: str) -> None:
    assert receiver.get(path).status_code == 404


@pytest.mark.parametrize("page", [*PAGES, *OPEN])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_page_cannot_be_written(receiver: LocalReceiver, page: str, method: str) -> None:
    response = receiver.app.test_client().open(page.format(id=pushed(receiver)), method=method)
    assert response.status_code == 405


@pytest.mark.promise(8)
def test_a_deployment_shows_its_record(receiver: LocalReceiver) -> None:
    deployment = receiver.end(pushed(receiver), Status.SUCCEEDED)
    shown = content(receiver.get(f"/deployments/{deployment.id}"))
    url = f"/deployments/{deployment.id}"
    assert shown == {**deployment.model_dump(mode="json"), "status_url": url, "log_url": f"{url}/log"}


def test_push_answer_links_its_deployment(receiver: LocalReceiver) -> None:
    answer = content(receiver.push())
    assert content(receiver.get(answer["status_url"]))["id"] == answer["deployment"]


def test_log_is_unchanged(receiver: LocalReceiver) -> None:
    deployment = pushed(receiver)
    log: Path = receiver.config.settings.log_path("github", deployment)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("$ git fetch\n<script>naïve ☃</script>\n")
    response = receiver.get(f"/deployments/{deployment}/log", {"Range": "bytes=0-1"})
    assert (response.status_code, response.text) == (200, log.read_text())
    assert response.content_type == "text/plain; charset=utf-8"


def test_missing_log_is_empty(receiver: LocalReceiver) -> None:
    response = receiver.get(f"/deployments/{pushed(receiver)}/log")
    assert (response.status_code, response.text) == (200, "")


@pytest.mark.threat(63)
@pytest.mark.parametrize("put", ["link", "link to the directory", "pipe", "directory", "sparse"])
def test_only_regular_logs_are_shown(receiver: LocalReceiver, put: str) -> None:
    """The worker's user owns the directory, and the receiver can read secrets that this user must not."""
    deployment = pushed(receiver)
    log: Path = receiver.config.settings.log_path("github", deployment)
    log.parent.mkdir(parents=True, exist_ok=True)
    elsewhere = receiver.config.settings.state / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / log.name).write_text("canary\n")
    aside = log.parent.rename(log.parent.with_name("aside"))
    match put:
        case "link to the directory":
            log.parent.symlink_to(elsewhere)
        case _:
            log.parent.mkdir()
    match put:
        case "link":
            log.symlink_to(elsewhere / log.name)
        case "pipe":
            os.mkfifo(log)
        case "directory":
            log.mkdir()
        case "sparse":
            log.touch()
            os.truncate(log, 3 * 1024**3)
    response = receiver.get(f"/deployments/{deployment}/log")
    log.parent.rename(log.parent.with_name(f"after {put}"))
    aside.rename(log.parent)
    assert (response.status_code, "canary" in response.text) == (404, False)
    assert content(response)["error"].endswith(f"hookd logs {deployment}")


def test_app_shows_status_and_deployments(receiver: LocalReceiver) -> None:
    now = datetime.now(UTC)
    view = AppStatus(
        app="github",
        deployed_commit=OLD,
        release=f"000001-{OLD[:12]}",
        head=NEW,
        head_seen_at=now,
        healthy=True,
        checked_at=now,
        quarantined=(Quarantine(commit=NEW, since=now, cause="the health check failed"),),
    )
    publish_status(receiver.redis, view)
    first = pushed(receiver, "first")
    receiver.end(first, Status.SUCCEEDED)
    second = pushed(receiver, "second")
    shown = content(receiver.get("/apps/github"))
    assert [each["id"] for each in shown.pop("deployments")] == [second, first]
    said = {"frozen": None, "repository": "acme/github", "branch": "main"}
    assert shown == {**view.model_dump(mode="json"), **said}


def test_app_history_is_limited(receiver: LocalReceiver) -> None:
    for number in range(MAX_DEPLOYMENTS + 2):
        receiver.end(pushed(receiver, f"delivery-{number}"), Status.UNCHANGED)
    assert len(content(receiver.get("/apps/github"))["deployments"]) == MAX_DEPLOYMENTS


def test_new_app_has_null_fields(receiver: LocalReceiver) -> None:
    shown = content(receiver.get("/apps/gogs"))
    assert (shown["deployed_commit"], shown["head"], shown["healthy"]) == (None, None, None)
    assert shown["deployments"] == []


def test_all_apps_are_listed(receiver: LocalReceiver) -> None:
    listed = content(receiver.get("/apps"))["apps"]
    assert [each["app"] for each in listed] == sorted(host.value for host in GitHost)


def fits(response: TestResponse, method: str, path: str) -> bool:
    """Return True if docs/api.md has this status with exactly the answer's fields."""
    names = api_page.routes()[method, path].answers[response.status_code]
    return set(content(response)) in [api_page.fields()[name] for name in names]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/apps", 200),
        ("/apps/{name}", 200),
        ("/apps/{name}", 404),
        ("/apps/{name}/decisions", 200),
        ("/apps/{name}/decisions", 404),
        ("/deployments/{deployment_id}", 200),
        ("/deployments/{deployment_id}", 404),
        ("/deployments/{deployment_id}/log", 404),
        ("/healthz", 200),
        ("/readyz", 200),
    ],
)
def test_answers_fit_the_api_page(receiver: LocalReceiver, path: str, status: int) -> None:
    receiver.end(pushed(receiver, "first"), Status.SUCCEEDED)
    known = {"name": "github", "deployment_id": pushed(receiver, "second")}
    unknown = {"name": "nobody", "deployment_id": "nobody"}
    response = receiver.get(path.format(**(known if status == 200 else unknown)))
    assert response.status_code == status
    assert fits(response, "GET", path)


def test_nested_objects_fit_the_api_page(receiver: LocalReceiver) -> None:
    pushed(receiver)
    fields = api_page.fields()
    [app] = [each for each in content(receiver.get("/apps"))["apps"] if each["app"] == "github"]
    assert set(app) == fields["App"] - {"deployments"}
    assert set(content(receiver.get("/apps/github"))["deployments"][0]) == fields["Deployment"]
    assert set(content(receiver.get("/apps/github/decisions"))["decisions"][0]) == fields["Decision"]


def test_pages_need_the_token_as_documented(closed: LocalReceiver) -> None:
    values = {"name": "github", "deployment_id": "nobody"}
    for (method, path), route in api_page.routes().items():
        if method == "GET":
            refused = closed.get(path.format(**values)).status_code == 401
            assert refused == (route.access == "token"), path


def test_push_answers_fit_the_page(receiver: LocalReceiver) -> None:
    answers = [
        receiver.push(delivery="first"),
        receiver.push(delivery="second"),
        receiver.push(delivery="second"),
        receiver.push(event="ping"),
        receiver.push(event="create"),
        receiver.push(secret="another secret of 16 bytes"),
        receiver.push(body=b"[]"),
        receiver.push(content_type="text/plain"),
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 200, 200, 200, 401, 400, 415]
    assert all(fits(answer, "POST", "/hooks/{name}") for answer in answers)
