"""apps/<app>.toml: the values of one app."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hookd.config import from_validation
from hookd.model.app import App
from hookd.model.tables.files import Shared


def table(**over: Any) -> dict[str, Any]:
    """Return an app's table with the fewest keys and the test's additions."""
    return {
        "name": "shop",
        "repository": "ssh://git@example.org/acme/shop.git",
        "full_name": "acme/shop",
        "root": "/srv/shop",
        "health": {"url": "http://127.0.0.1:8000/healthz"},
        **over,
    }


def app(**over: Any) -> App:
    return App.model_validate(table(**over))


def problems(**over: Any) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        app(**over)
    return [str(problem) for problem in from_validation("shop.toml", raised.value)]


def test_the_fewest_keys_make_an_app() -> None:
    shop = app()
    assert (shop.ref, shop.service_name) == ("refs/heads/main", "shop")
    assert shop.services == {"shop"}
    assert (shop.shared_root, shop.data_root) == (Path("/srv/shop/shared"), Path("/srv/shop/shared"))


def test_data_may_live_elsewhere() -> None:
    shop = app(shared={"root": "/etc/shop", "data": "/var/lib/shop"})
    assert (shop.shared_root, shop.data_root) == (Path("/etc/shop"), Path("/var/lib/shop"))
    assert app(shared={"root": "/etc/shop"}).data_root == Path("/etc/shop")


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    ("written", "user", "group"),
    [
        ({}, "www-data", "www-data"),
        ({"user": "shop"}, "shop", "shop"),
        ({"user": "shop", "group": "www-data"}, "shop", "www-data"),
        ({"group": "web"}, "www-data", "web"),
    ],
)
def test_group_follows_the_user(written: dict[str, str], user: str, group: str) -> None:
    owner = app(ownership=written).ownership
    assert (owner.user, owner.group) == (user, group)


def test_invalid_user_is_one_problem() -> None:
    (problem,) = problems(ownership={"user": "No User"})
    assert problem.startswith("shop.toml: ownership.user")


def test_missing_keys_are_reported_together() -> None:
    with pytest.raises(ValidationError) as raised:
        App.model_validate({"name": "shop"})
    assert [str(problem) for problem in from_validation("shop.toml", raised.value)] == [
        f"shop.toml: {key}: missing, but this key is required" for key in ("repository", "full_name", "root", "health")
    ]


@pytest.mark.promise(66)
@pytest.mark.parametrize(
    "section", ["dependencies", "build", "shared", "ownership", "service", "health", "limits", "surprise"]
)
def test_unknown_key_is_reported(section: str) -> None:
    over = {section: {**table().get(section, {}), "colour": 1}}
    where = section if section == "surprise" else f"{section}.colour"
    assert problems(**over) == [f"shop.toml: {where}: unknown key, remove it or check its spelling"]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/acme/shop.git",
        "https://example.org:8443/acme/shop.git",
        "http://[::1]:3000/acme/shop.git",
        "ssh://git@example.org/acme/shop.git",
        "ssh://example.org:2222/acme/shop.git",
        "git@example.org:acme/shop.git",
        "file:///srv/git/shop.git",
    ],
)
def test_a_plain_repository_url_is_accepted(url: str) -> None:
    assert app(repository=url).repository == url


@pytest.mark.threat(16)
@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("", "ssh://…, https://… or git@host:owner/name.git"),
        ("shop", "ssh://…, https://… or git@host:owner/name.git"),
        ("/srv/git/shop.git", "ssh://…, https://… or git@host:owner/name.git"),
        ("ext::sh -c id", "a URL without blanks and control characters"),
        ("ext::id", "ssh://…, https://… or git@host:owner/name.git"),
        ("--upload-pack=id", "ssh://…, https://… or git@host:owner/name.git"),
        ("-oProxyCommand=id@host:x", "ssh://…, https://… or git@host:owner/name.git"),
        ("git@-oProxyCommand=id:x", "ssh://…, https://… or git@host:owner/name.git"),
        ("git@example.org:--upload-pack=id", "ssh://…, https://… or git@host:owner/name.git"),
        ("ssh://-oProxyCommand=id/x", "a URL that names a host"),
        ("ssh://git@-oProxyCommand=id/x", "a URL that names a host"),
        ("ssh://-oProxyCommand=id@host/x", "a URL that names a host"),
        ("ssh://%2DoProxyCommand=id/x", "a URL that names a host"),
        ("https:///acme/shop.git", "a URL that names a host"),
        ("https://example.org:port/shop.git", "a URL that names a host"),
        ("https://[::1/shop.git", "a URL that names a host"),
        ("file://host/srv/git", "file:///path/to/repository.git"),
        ("https://example.org/a\nb", "a URL without blanks and control characters"),
        ("https://example.org/a b", "a URL without blanks and control characters"),
        ("git@example.org:a\x00b", "a URL without blanks and control characters"),
        ("https://example.org/shop.git\n", "a URL without blanks and control characters"),
    ],
)
def test_dangerous_repository_is_refused(url: str, wanted: str) -> None:
    [problem] = problems(repository=url)
    assert problem.startswith("shop.toml: repository: ")
    assert problem.endswith(f"expected {wanted}")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@example.org/shop.git",
        "https://hunter2@example.org/shop.git",
        "https://:hunter2@example.org/shop.git",
        "https://user:hun/ter2@example.org/shop.git",
        "ssh://git:hunter2@example.org/shop.git",
        "https://example.org/shop.git?access_token=hunter2",
        "user:hunter2@example.org/shop.git",
    ],
)
def test_credentials_in_urls_are_refused(url: str) -> None:
    [problem] = problems(repository=url)
    assert "invalid value " in problem
    assert "hun" not in problem
    assert "ter2" not in problem


@pytest.mark.threat(16)
@pytest.mark.parametrize("branch", ["-b", "--upload-pack=id", "", "a..b", "a b", "refs/heads/", "@{-1}"])
def test_invalid_branch_is_refused(branch: str) -> None:
    assert problems(branch=branch) == [
        f"shop.toml: branch: invalid value {branch!r}, expected a branch name that git accepts, such as main"
    ]


@pytest.mark.parametrize("key", ["root", "deploy_key"])
@pytest.mark.parametrize("path", ["srv/shop", "/srv/../etc", ""])
def test_relative_path_is_refused(key: str, path: str) -> None:
    assert len(problems(**{key: path})) == 1


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "../x", "a/../b", "a//b", "./a", "a/", "a\x00b", "venv", "venv/x", ".git", "x" * 256],
)
def test_invalid_link_point_is_refused(path: str) -> None:
    assert len(problems(shared={"files": [path]})) == 1
    assert len(problems(shared={"directories": [path]})) == 1
    assert len(problems(dependencies={"file": path})) == 1


@pytest.mark.parametrize(
    "pattern", ["!docs", "^docs", ":(exclude)docs", "/docs", "-docs", "a/../b", "", "a\nb", "x" * 256]
)
def test_invalid_pattern_is_refused(pattern: str) -> None:
    """Other tools mark an exception with these. git would look for a file of that name."""
    assert len(problems(paths={"include": [pattern]})) == 1
    assert len(problems(paths={"exclude": [pattern]})) == 1


@pytest.mark.parametrize(
    ("files", "directories"),
    [([".env", ".env"], []), (["a"], ["a"]), ([], ["var", "var/cache"]), (["var/a/b"], ["var", "var-b"])],
)
def test_nested_link_points_are_refused(files: list[str], directories: list[str]) -> None:
    [problem] = problems(shared={"files": files, "directories": directories})
    assert "link points that do not contain each other" in problem


SEGMENTS = st.lists(
    st.text("ab-.", min_size=1, max_size=2).filter(lambda text: text.strip(".")), min_size=1, max_size=3
)


@given(st.lists(SEGMENTS.map("/".join), max_size=6))
def test_accepted_link_points_are_disjoint(paths: list[str]) -> None:
    nested = any(
        first.startswith(f"{second}/") or first == second
        for place, first in enumerate(paths)
        for other, second in enumerate(paths)
        if place != other
    )
    if nested:
        with pytest.raises(ValidationError):
            Shared.model_validate({"directories": paths})
    else:
        Shared.model_validate({"directories": paths})


@pytest.mark.parametrize(
    ("handover", "url", "accepted"),
    [
        ("restart", "unix:/run/shop.sock:/healthz", True),
        ("restart", "unix:/run/shop-{colour}.sock:/healthz", False),
        ("blue-green", "unix:/run/shop-{colour}.sock:/healthz", True),
        ("blue-green", "unix:/run/shop.sock:/healthz", False),
    ],
)
def test_colour_in_health_url(handover: str, url: str, accepted: bool) -> None:
    over = {"service": {"handover": handover}, "health": {"url": url}}
    if accepted:
        assert app(**over).health.url == url
        return
    [problem] = problems(**over)
    assert "expected health.url with {colour} when service.handover is blue-green, without it otherwise" in problem


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "https://shop/", "file:///etc/passwd", "http://a@b/", "unix:run/x:/", "http://a/ b"]
)
def test_invalid_health_url_is_refused(url: str) -> None:
    assert len(problems(health={"url": url})) == 1


@pytest.mark.parametrize("service", [{"manager": "circus"}, {"endpoint": "ipc:///run/circus.sock"}])
def test_only_circus_has_an_endpoint(service: dict[str, str]) -> None:
    [problem] = problems(service=service)
    assert 'endpoint belongs to manager = "circus", and only to it' in problem


@pytest.mark.parametrize("name", ["-x", "a b", "../a", "a/b", "--now", "a" * 65, "a\n", "*", "a;b"])
def test_dangerous_service_name_is_refused(name: str) -> None:
    assert len(problems(service={"name": name})) == 1


@pytest.mark.parametrize("commands", [[[]], [[""]], [["a\x00b"]], [["x"] * 201], "", 5, [5], [["npm", 1]]])
def test_bad_command_is_refused(commands: object) -> None:
    assert len(problems(build={"commands": commands})) >= 1


@pytest.mark.parametrize(
    ("commands", "meant"),
    [
        ("npm ci", (("npm", "ci"),)),
        (["npm ci", ["npm", "run", "build"]], (("npm", "ci"), ("npm", "run", "build"))),
        (["make"], (("make",),)),
        ("python -c 'import shop'", (("python", "-c", "import shop"),)),
    ],
)
def test_command_as_text(commands: object, meant: object) -> None:
    assert app(build={"commands": commands}).build.commands == meant
    assert app(release={"commands": commands}).release.commands == meant


@pytest.mark.parametrize(
    ("over", "text"),
    [
        ({"build": {"commands": "npm ci && npm test"}}, '["sh", "-c", "npm ci && npm test"]'),
        ({"build": {"commands": "NODE_ENV=production npm ci"}}, '["sh", "-c", '),
        ({"build": {"commands": ["npm", "ci"]}}, '[["npm", "ci"]]'),
        ({"service": {"preflight": ["python", 1]}}, 'a command such as ["npm", "ci"]'),
        ({"release": {"commands": "x", "backup": "pg_dump | gzip", "restore": "y"}}, '["sh", "-c", "pg_dump | gzip"]'),
        ({"service": {"entry": "shop/wsgi.py"}}, "shop.wsgi:app"),
        ({"service": {"workers": "four"}}, "a whole number"),
        ({"service": {"threads": 0}}, "1 or more"),
        ({"dependencies": {"file": ["a.txt", "b.txt"]}}, "-r"),
        ({"dependencies": {"allow_build": "maybe"}}, "true or false"),
        ({"shared": {"directories": "uploads"}}, '["uploads"]'),
        ({"shared": {"directories": ["uploads/*"]}}, "without *"),
        ({"shared": "uploads"}, "a table"),
        ({"branch": "refs/tags/v1"}, "tags"),
        ({"repository": "https://me:key@example.org/acme/shop.git"}, "git@example.org:acme/shop.git"),
        ({"build": {"memory_max": 512}}, '"512M"'),
        ({"entry": "shop:app"}, "perhaps service.entry is meant"),
        ({"healht": {}}, "perhaps health is meant"),
        ({"build": {"comands": []}}, "perhaps build.commands is meant"),
        ({"processes": {"worker": {"command": "rq worker", "cout": 2}}}, "perhaps processes.worker.count is meant"),
    ],
)
def test_refusal_shows_the_right_spelling(over: dict[str, Any], text: str) -> None:
    [problem] = problems(**over)
    assert text in problem


def test_full_name_of_a_branch() -> None:
    assert app(branch="refs/heads/main").branch == "main"


@pytest.mark.parametrize(
    ("release", "problem"),
    [
        ({"commands": [["true"]], "backup": "sqlite"}, ""),
        ({"commands": [["true"]], "backup": ["pg_dump"], "restore": ["psql"]}, ""),
        ({"backup": "sqlite"}, "expected backup only with commands"),
        ({"commands": [["true"]], "backup": ["pg_dump"]}, "expected restore with a command as backup"),
        ({"commands": [["true"]], "backup": "sqlite", "restore": ["x"]}, "expected restore with a command as backup"),
        ({"commands": [["true"]], "restore": ["x"]}, "expected restore with a command as backup"),
        ({"commands": [["true"]], "backup": "mysql"}, "expected restore with a command as backup"),
        ({"commands": "true", "backup": "pg_dump shop", "restore": "psql -d shop"}, ""),
    ],
)
def test_backup_has_its_way_back(release: dict[str, Any], problem: str) -> None:
    if not problem:
        assert app(release=release).release.commands == (("true",),)
        return
    assert problem in "".join(problems(release=release))
