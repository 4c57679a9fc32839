"""Each excess right of hookd's users is reported with the command that removes it."""

import pytest

from units.doctor.checks.rights import SystemAccount, check_account, check_privileges
from units.doctor.finding import CannotCheck

NOLOGIN = "/usr/sbin/nologin"
RECEIVER = SystemAccount(990, NOLOGIN, frozenset({"hookd", "hookd-queue"}))
WORKER = SystemAccount(991, NOLOGIN, frozenset({"manager", "www-data", "hookd-queue"}))
REDIS = SystemAccount(992, NOLOGIN, frozenset({"hookd-redis"}))
WEB = SystemAccount(33, NOLOGIN, frozenset({"www-data"}))
PLANNED = {"hookd": RECEIVER, "manager": WORKER, "hookd-redis": REDIS, "www-data": WEB}


def changed(account: SystemAccount, *groups: str, **more: object) -> SystemAccount:
    return SystemAccount(**{**vars(account), "groups": account.groups | set(groups), **more})


@pytest.mark.parametrize("name", PLANNED)
def test_planned_accounts_pass(name: str) -> None:
    assert not list(check_account(name, PLANNED[name]))


@pytest.mark.parametrize(
    ("name", "account", "message", "hint"),
    [
        ("manager", changed(WORKER, shell="/bin/bash"), "log in with /bin/bash", "usermod --shell"),
        ("manager", changed(WORKER, lingers=True), "manager may linger", "disable-linger manager"),
        ("manager", changed(WORKER, "docker"), "not be in the group docker", "gpasswd --delete manager docker"),
        ("hookd", changed(RECEIVER, "www-data"), "not be in the group www-data", "gpasswd --delete hookd www-data"),
        ("www-data", changed(WEB, "hookd-queue"), "not be in the group hookd-queue", "--delete www-data hookd-queue"),
    ],
)
def test_excess_rights_are_reported(name: str, account: SystemAccount, message: str, hint: str) -> None:
    (found,) = check_account(name, account)
    assert found.level == "error"
    assert message in found.message
    assert hint in (found.hint or "")


def test_worker_is_in_the_apps_groups() -> None:
    worker = changed(WORKER, "blog", "docker")
    found = [one.message for one in check_account("manager", worker, frozenset({"blog"}))]
    assert found == ["manager must not be in the group docker"]


def test_unrelated_groups_of_www_data_pass() -> None:
    assert not list(check_account("www-data", changed(WEB, "ssl-cert")))


def test_worker_without_privileges_is_reported() -> None:
    (found,) = check_privileges("hookd-worker@1.service", "Name:\tpython\nNoNewPrivs:\t1\nSeccomp:\t2\n")
    assert (found.level, found.hint) == ("error", "sudo systemctl edit hookd-worker@1.service")
    assert not list(check_privileges("hookd-worker@1.service", "NoNewPrivs:\t0\n"))


@pytest.mark.parametrize("status", ["", "Name:\tpython\n", "NoNewPrivs: yes\n"])
def test_unreadable_privileges_are_unknown(status: str) -> None:
    with pytest.raises(CannotCheck, match="the kernel does not show"):
        list(check_privileges("hookd-worker@1.service", status))
