"""`hookd up` and `hookd down`, typed by a person without root."""

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support import app_plans
from tests.support.processes import free_port, listens, wait_for
from tests.support.repository import Repository
from tests.support.typed import typed_at_home

PAGE = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{version}']\n"


class Person:
    """A user with a home directory and a repository."""

    # The script that started hookd.
    script = ""

    def __init__(self, directory: Path) -> None:
        self.home = directory
        self.repository = Repository(directory / "git")
        self.port = free_port()
        self.commit("one")
        for arguments in (("--bare", "empty.git"), ("with blank",)):
            subprocess.run(("git", "init", "-q", *arguments), cwd=directory, check=True)

    def commit(self, version: str) -> str:
        """Commit and push a page."""
        files = {"wsgi.py": PAGE.replace("{version}", version), "other.py": PAGE.replace("{version}", "other")}
        return self.repository.commit_and_push({**files, "requirements.txt": "gunicorn\n"}, version)

    def hookd(self, *arguments: str, cwd: Path | None = None, status: int | None = 0) -> str:
        """Type a command, and return what it prints. A `status` of None is any."""
        done = typed_at_home(self.home, *arguments, cwd=cwd, script=self.script)
        assert "Traceback" not in done.stdout and status in (None, done.returncode), done.stdout
        return done.stdout

    def page(self) -> str:
        """Return the page of the app."""
        with urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
            return str(answer.read(), "utf-8")


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """A person whose home has a short path, because a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="up-") as directory:
        person = Person(Path(directory))
        yield person
        for home in (person.home / ".hookd").glob("*"):
            person.hookd("down", home.name, "--purge", "--yes")


@pytest.mark.promise(3)
def test_one_command_makes_a_site(person: Person) -> None:
    """Go on with a commit, a changed key, a stop, and a circus that was killed."""
    source = ("up", "--repo", person.repository.url, "--name", "shop")
    printed = person.hookd(*source, "--port", str(person.port), "--health", "/", "--yes")
    assert person.page() == "one"
    secret = (person.home / ".hookd/shop/secrets/shop").read_text().strip()
    assert f"http://127.0.0.1:{person.port}/" in printed and "/hooks/shop" in printed and secret in printed
    person.commit("two")
    wait_for(lambda: person.page() == "two", 60, "the commit")
    assert "shop" in person.hookd("status")
    person.hookd(*source, "--entry", "other:app", "--health", "/other")
    assert person.page() == "other"
    assert '.sock:/other"' in (person.home / ".hookd/shop/apps/shop.toml").read_text()
    check_typed_again(person, source)
    assert "is stopped" in person.hookd("down")
    assert not listens(person.port)
    person.hookd(*source)
    assert person.page() == "other"
    kill_circus(person)
    person.hookd(*source, "--entry", "wsgi:app")
    assert person.page() == "two"
    person.hookd("down", "shop", "--purge", "--yes")
    assert not listens(person.port)
    assert list((person.home / ".hookd").iterdir()) == []
    assert left_processes(person) == []


def test_apps_side_by_side(person: Person) -> None:
    """Mend a failed first deployment with a commit, and find each app by its name."""
    work = person.repository.work
    person.repository.commit_and_push({"wsgi.py": "def app(:\n"}, "a broken first commit")
    failed = person.hookd("up", "--entry", "wsgi:app", "--name", "blog", "--health", "/", "--yes", cwd=work, status=1)
    assert "SyntaxError" in failed
    person.hookd("up", "--entry", "wsgi:app", "--name", "shop", "--health", "/", "--yes", cwd=work, status=1)
    status = person.hookd("status", "blog")
    assert "behind head for" in status and "next: push a fix" in status
    asked = person.hookd("status", status=2)
    assert "there are several apps: blog, shop" in asked and "next: hookd status blog" in asked
    for command in ("why", "doctor"):
        assert "blog" in person.hookd(command, "blog", status=None)
    assert "there are: blog, shop" in person.hookd("deploy", "nobody", status=2)
    person.commit("mended")
    wait_for(lambda: "deployed none" not in person.hookd("status", "shop"), 60, "the mended commit")
    last = person.hookd("status", "shop").partition("\nshop-")[2].split()[0]
    assert "hookd            succeeded" in person.hookd("logs", f"shop-{last}")
    check_server_commands(person)
    check_stopped(person)
    for name in ("blog", "shop"):
        person.hookd("down", name, "--purge", "--yes")


def check_server_commands(person: Person) -> None:
    """Refuse commands for servers with the one that works here."""
    home = person.home / ".hookd/blog"
    for command, instead in {
        "restart blog": f"hookd up --repo file://{person.repository.work} --name blog",
        "stop blog": "hookd down blog",
        "env set blog KEY": f"{home}/variables",
        "app show blog": f"cat {home}/apps/blog.toml",
        "secret show blog": f"cat {home}/secrets/blog",
        "run blog -- flask shell": f"hookd.with_variables {home}/variables",
    }.items():
        said = person.hookd(*command.split(), status=2)
        assert "this command is for servers" in said and instead in said and "sudo" not in said, said


def check_stopped(person: Person) -> None:
    """Name the command that starts a stopped app again, in the form that the person typed."""
    person.script = "./run"
    again = f"next: ./run hookd up --repo file://{person.repository.work} --name blog\n"
    assert again in person.hookd("down", "blog")
    for command in ("status", "deploy"):
        said = person.hookd(command, "blog", status=6)
        assert "blog is stopped" in said and again in said
    assert "next: ./run hookd up --name blog\n" in person.hookd("status", "blog", cwd=person.repository.work, status=6)
    found = person.hookd("doctor", "blog", status=None)
    assert again.removeprefix("next: ") in found and "sudo hookd" not in found
    person.script = ""


def check_typed_again(person: Person, source: tuple[str, ...]) -> None:
    """Check a dry run, which shows the changes alone, and the options that are for a new app."""
    file, variables = person.home / ".hookd/shop/apps/shop.toml", person.home / "more"
    before, other = file.read_text(), free_port()
    assert "+workers = 3" in person.hookd(*source, "--set", "service.workers=3", "--dry-run")
    variables.write_text("A=1\n")
    refused = {("--port", str(other)): file, ("--env-file", "more"): file.parents[1] / "variables"}
    for options, edited in refused.items():
        said = person.hookd(*source, *options, "--dry-run", status=2)
        assert re.search(rf"^  next: .+ {edited}$", said, re.MULTILINE), said
    variables.write_text("")
    same = person.hookd(*source, "--port", str(person.port), "--env-file", "more", "--dry-run")
    assert "nothing to change" in same
    assert file.read_text() == before


def kill_circus(person: Person) -> None:
    pid = int((person.home / ".hookd/shop/circus.pid").read_text())
    os.kill(pid, signal.SIGKILL)


def left_processes(person: Person) -> list[str]:
    """Return the commands that still use the person's directory."""
    done = subprocess.run(["pgrep", "-af", f"{person.home}/.hookd"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def test_used_port_is_refused(person: Person) -> None:
    """Refuse a port before anything is written, and an app's port that another program took meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for options in (("--yes",), ("--dry-run",)):
            said = person.hookd("up", "--port", str(port), *options, cwd=person.repository.work, status=2)
            assert f"port {port} is in use" in said and "next: hookd up --port" in said
        assert list((person.home / ".hookd").glob("*")) == []
        person.hookd(
            "up",
            "--entry",
            "wsgi:app",
            "--set",
            f"service.listen=127.0.0.1:{port}",
            "--yes",
            cwd=person.repository.work,
            status=2,
        )
    assert not (person.home / ".hookd/work/circus.pid").exists()
    other_source = person.hookd("up", "--repo", person.repository.url, "--name", "work", status=2)
    assert "is an app of another repository" in other_source and "--name work-2" in other_source
    person.hookd("down", "work", "--purge", "--yes")


def test_checkout_deploys_its_own_commits(person: Person) -> None:
    work = person.repository.work
    assert "wsgi:app" in person.hookd("up", "--dry-run", cwd=work)
    assert "wsgi:app" in person.hookd("up", "--dry-run", "--directory", "./", cwd=work)
    assert f"file://{work}" in person.hookd("up", "--dry-run", cwd=work / ".git")


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("up",), "is no git repository"),
        (("up", "--repo", "/nowhere"), "does not exist"),
        (("up", "--repo", "git"), "is no git repository"),
        (("up", "--repo", "empty.git"), "has no commit yet"),
        (("up", "--repo", "with blank"), "has no blanks"),
        (("up", "--repo", "https://127.0.0.1:1/acme/shop.git"), "cannot be read"),
        (("up", "--repo", "git@host:???.git"), "cannot name an app"),
        (("up", "--branch", "nowhere"), "has no branch nowhere"),
        (("up", "--branch=-x"), "branch"),
        (("up", "--set", "service.workers=many"), "service.workers"),
        (("up", "--set", "nokey"), "is not KEY=VALUE"),
        (("up", "--set", "=5"), "is not KEY=VALUE"),
        (("up", "--set", "health.status=banana"), "health.status: invalid value 'banana', expected a status"),
        (("up", "--health", "up"), "begins with /"),
        (("up", "--name", "9"), "cannot name an app"),
        (("down", "nobody"), "there is no"),
    ],
)
def test_wrong_input_leaves_nothing(person: Person, arguments: tuple[str, ...], cause: str) -> None:
    here = arguments[0] == "up" and any(
        name in arguments for name in ("--branch", "--branch=-x", "--set", "--name", "--health")
    )
    said = person.hookd(*arguments, cwd=person.repository.work if here else None, status=2)
    assert cause in said and re.search(r"^  next: ", said, re.MULTILINE), said
    assert list((person.home / ".hookd").glob("*")) == []


def test_shown_plan_goes_live(person: Person) -> None:
    """The plan of docs/apps.md: the factory starts with a random secret, and its migration made the shared database."""
    repository, port = Repository(person.home / "blog"), free_port()
    repository.commit_and_push(app_plans.files_of("flask"))
    printed = person.hookd("up", "--repo", repository.url, "--name", "blog", "--port", str(port), "--yes")
    plan = re.split(r"^Found in .+\n", printed, flags=re.MULTILINE)[1]
    assert plan.partition("\n\n")[0].splitlines() == app_plans.plan_lines("flask")
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert answer.read().strip() == b'{"posts":[]}'
    assert (person.home / ".hookd/blog/app/shared/instance/blog.db").exists()
