"""The user of a unit from before hookd, read from systemd's answer."""

from typing import Any

import pytest

from tests.support.rendered import make_entry
from units.apps.accounts import unit_users
from units.apps.accounts.unit_users import existing_unit_problems, unit_user_problems

COMMAND = "{{ path={0} ; argv[]={0} ; flags={1} ; start_time=[n/a] ; pid=0 ; status=0/0 }}"
ORDINARY = {
    "LoadState": "loaded",
    "NeedDaemonReload": "no",
    "User": "www-data",
    "Group": "",
    "SupplementaryGroups": "",
    "DynamicUser": "no",
    "ExecStartEx": COMMAND.format("/srv/shop/current/venv/bin/gunicorn", ""),
}


def problems(monkeypatch: pytest.MonkeyPatch, shown: dict[str, str], **service: Any) -> list[str]:
    """Return the problems of a unit whose answer differs from an ordinary one's."""
    printed = "".join(f"{key}={line}\n" for key, value in {**ORDINARY, **shown}.items() for line in value.split("\n"))
    monkeypatch.setattr(unit_users, "run", lambda argv: printed)
    app = make_entry("shop", {"units": "existing", **service}, "http://127.0.0.1:8000/")
    return [problem.cause for problem in existing_unit_problems(app)]


@pytest.mark.threat(69)
def test_ordinary_unit_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, {}) == []
    assert problems(monkeypatch, {"User": "33", "Group": "33", "SupplementaryGroups": "cdrom"}) == []


@pytest.mark.threat(69)
@pytest.mark.parametrize("user", ["", "root", "0"])
@pytest.mark.parametrize("listen", [None, "127.0.0.1:8000"])
def test_unit_of_root_is_refused(monkeypatch: pytest.MonkeyPatch, user: str, listen: str | None) -> None:
    found = problems(monkeypatch, {"User": user}, listen=listen)
    assert found == ["shop.service runs as root, and so would each push: set User=www-data"]


@pytest.mark.threat(69)
@pytest.mark.parametrize("user", ["manager", "hookd", "hookd-redis", "hookd-build", "sshd"])
def test_unit_of_a_service_is_refused(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    (found,) = problems(monkeypatch, {"User": user})
    assert found == f"shop.service runs as {user}, which is not for apps: set User=www-data"


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        ({"User": "nobody"}, "shop.service has User=nobody, but the app's user is www-data"),
        ({"User": "shop", "DynamicUser": "yes"}, "shop.service has DynamicUser=, which owns no files"),
        ({"NeedDaemonReload": "yes"}, "shop.service changed on disk, so its user is unknown"),
        ({"Group": "0"}, "shop.service has the group root, which is not for apps"),
        ({"SupplementaryGroups": "cdrom docker"}, "shop.service has the group docker, which is not for apps"),
    ],
)
def test_other_user_or_group_is_refused(monkeypatch: pytest.MonkeyPatch, shown: dict[str, str], cause: str) -> None:
    (found,) = problems(monkeypatch, shown)
    assert found.startswith(cause)


PUSHED = "/srv/shop/current/prepare"


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    ("shown", "service", "refused"),
    [
        ({"ExecStartEx": COMMAND.format("/usr/bin/python3", "privileged")}, {}, ["/usr/bin/python3"]),
        ({"ExecStartEx": COMMAND.format("/usr/bin/python3", "ignore-failure no-setuid")}, {}, ["/usr/bin/python3"]),
        ({"ExecStartPreEx": COMMAND.format(PUSHED, "privileged")}, {}, [PUSHED]),
        ({"ExecConditionEx": COMMAND.format(PUSHED, "privileged")}, {"listen": "127.0.0.1:8000"}, [PUSHED]),
        # hookd's drop-in replaces the command, this one runs no pushed code, and this one needs no root.
        ({"ExecStartEx": COMMAND.format(PUSHED, "privileged")}, {"listen": "127.0.0.1:8000"}, []),
        ({"ExecStartPreEx": COMMAND.format("/bin/mkdir", "privileged")}, {}, []),
        ({"ExecStartPreEx": COMMAND.format(PUSHED, "ignore-failure")}, {}, []),
    ],
)
def test_pushed_command_of_root_is_refused(
    monkeypatch: pytest.MonkeyPatch, shown: dict[str, str], service: dict[str, str], refused: list[str]
) -> None:
    wanted = [f"shop.service runs a command as root (+ or !): {command}" for command in refused]
    assert problems(monkeypatch, shown, **service) == wanted


@pytest.mark.threat(69)
def test_unreadable_command_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line end inside a command hides what follows, such as the flag of a command as root."""
    broken = COMMAND.format("/bin/sh -c x\nY=1", "privileged")
    assert problems(monkeypatch, {"ExecStartPreEx": broken}) == [
        "shop.service has a command that hookd cannot read (ExecStartPreEx)"
    ]


def test_missing_unit_has_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave it to the checks that report a missing unit."""
    assert problems(monkeypatch, {"LoadState": "not-found", "User": ""}) == []


def test_hookd_s_units_are_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a drop-in with another user, but only where a command asks for it: `edit` changes the unit later."""
    assert problems(monkeypatch, {"User": "root"}, units="hookd") == []
    app = make_entry("shop", {"units": "hookd"}, "unix:/run/hookd-apps/shop.sock:/")
    (found,) = unit_user_problems(app)
    assert str(found).endswith("set User=www-data\n    next: sudo systemctl edit shop.service")
