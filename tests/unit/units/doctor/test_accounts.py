"""Users that are missing, can log in, lack a group or are in one too many are each named with what mends them."""

import pytest

from units.doctor.checks.accounts import SystemAccount, check_account

NOLOGIN = "/usr/sbin/nologin"
RIGHT = {
    "hookd": SystemAccount(990, NOLOGIN, frozenset({"hookd", "hookd-queue"})),
    "manager": SystemAccount(991, NOLOGIN, frozenset({"manager", "www-data", "hookd-queue"})),
    "hookd-redis": SystemAccount(992, NOLOGIN, frozenset({"hookd-redis"})),
    "www-data": SystemAccount(33, NOLOGIN, frozenset({"www-data"})),
}


@pytest.mark.parametrize("name", RIGHT)
def test_accounts_as_set_up_makes_them_are_right(name: str) -> None:
    assert not list(check_account(name, RIGHT[name]))


@pytest.mark.parametrize("name", RIGHT)
def test_a_user_that_is_missing(name: str) -> None:
    (found,) = check_account(name, None)
    assert (found.level, found.hint) == ("error", "sudo hookd setup")
    assert name in found.what


@pytest.mark.parametrize(
    ("name", "account", "told", "mend"),
    [
        ("manager", SystemAccount(0, NOLOGIN, RIGHT["manager"].groups), "may do everything", "userdel manager"),
        ("manager", SystemAccount(991, "/bin/bash", RIGHT["manager"].groups), "log in as manager", "usermod --shell"),
        (
            "manager",
            SystemAccount(991, NOLOGIN, frozenset({"manager", "www-data"})),
            "not in the group hookd-queue",
            "setup",
        ),
        (
            "manager",
            SystemAccount(991, NOLOGIN, RIGHT["manager"].groups, lingers=True),
            "(linger)",
            "disable-linger manager",
        ),
        ("hookd", SystemAccount(990, NOLOGIN, frozenset({"hookd"})), "not in the group hookd-queue", "setup"),
        (
            "manager",
            SystemAccount(991, NOLOGIN, RIGHT["manager"].groups | {"docker"}),
            "in the group docker, and must not be",
            "sudo gpasswd --delete manager docker",
        ),
        (
            "hookd",
            SystemAccount(990, NOLOGIN, RIGHT["hookd"].groups | {"www-data"}),
            "www-data",
            "--delete hookd www-data",
        ),
        (
            "www-data",
            SystemAccount(33, NOLOGIN, frozenset({"www-data", "hookd-queue"})),
            "in the group hookd-queue, and must not be",
            "sudo gpasswd --delete www-data hookd-queue",
        ),
    ],
)
def test_each_fault_of_an_account_is_named(name: str, account: SystemAccount, told: str, mend: str) -> None:
    (found,) = check_account(name, account)
    assert found.level == "error"
    assert told in found.what
    assert mend in (found.hint or "")


def test_other_groups_of_www_data_are_not_hookds_business() -> None:
    assert not list(check_account("www-data", SystemAccount(33, NOLOGIN, frozenset({"www-data", "ssl-cert"}))))
