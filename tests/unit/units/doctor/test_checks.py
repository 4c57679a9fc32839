"""Checks of disk space, Redis, versions and lag, from values."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hookd.model.decision import Freeze, Lag, Verdict, block_reason
from hookd.model.deployment import Trigger
from hookd.model.journal import AppState, Pinned, Quarantined, Release, Skipped
from hookd.model.tables.limits import Limits
from tests.support.apps import app
from units.doctor.checks import system
from units.doctor.checks.git import check_lag, hint_for
from units.doctor.checks.redis import check_memory, check_persistence
from units.doctor.checks.system import check_free_space
from units.doctor.finding import Finding

LIMITS = Limits(free_mib=500, free_inodes=1000)
AOF = {"aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok"}
MEMORY = {"maxmemory_policy": "noeviction", "used_memory": 10, "maxmemory": 100}
ONE, TWO = "1" * 40, "2" * 40
NOW = datetime(2026, 8, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mib", "inodes", "levels"),
    [
        (1000, 2000, ["ok"]),
        (1000, None, ["ok"]),
        (999, 2000, ["warning"]),
        (499, 2000, ["error"]),
        (5000, 1999, ["warning"]),
        (5000, 999, ["error"]),
        (0, 0, ["error", "error"]),
    ],
)
def test_free_space_levels(monkeypatch: pytest.MonkeyPatch, mib: int, inodes: int | None, levels: list[str]) -> None:
    """A file system that counts no inodes has 0 in all."""
    found = SimpleNamespace(f_bavail=mib, f_frsize=2**20, f_files=0 if inodes is None else 10_000, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    assert [one.level for one in check_free_space(Path("/srv/shop"), LIMITS)] == levels


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, None),
        ({"aof_enabled": 0}, "error"),
        ({"aof_last_write_status": "err"}, "error"),
        ({"aof_last_bgrewrite_status": "err"}, "warning"),
    ],
)
def test_redis_persistence(change: dict[str, Any], level: str | None) -> None:
    assert [one.level for one in check_persistence({**AOF, **change})] == ([level] if level else [])


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, None),
        ({"maxmemory_policy": "allkeys-lru"}, "error"),
        ({"used_memory": 81}, "warning"),
        ({"used_memory": 81, "maxmemory": 0}, None),
    ],
)
def test_redis_memory(change: dict[str, Any], level: str | None) -> None:
    assert [one.level for one in check_memory({**MEMORY, **change})] == ([level] if level else [])


@pytest.mark.parametrize(
    ("package", "printed", "level"),
    [
        ("git", "git version 2.39.5", None),
        ("git", "git version 2.39.3", "warning"),
        ("git", "git version 2.43.0", None),
        ("systemd", "systemd 252 (252.39-1~deb12u2)", None),
        ("systemd", "systemd 247 (247.3)", "warning"),
        ("sudo", "Sudo version 1.9.13p3", None),
        ("sudo", "Sudo version 1.9.5p2", "warning"),
        ("sudo", "sudo-rs", "unknown"),
    ],
)
def test_program_versions(package: str, printed: str, level: str | None) -> None:
    oldest = system._OLDEST[package]
    assert [one.level for one in system.check_version(package, printed, oldest)] == ([level] if level else [])


@pytest.mark.parametrize(
    ("controllers", "message"),
    [
        ("cpuset cpu io memory hugetlb pids rdma\n", None),
        ("cpu pids\n", "the kernel does not limit apps: memory_max do not count"),
        ("\n", "the kernel does not limit apps: memory_max and tasks_max do not count"),
        (None, "the kernel does not limit apps: memory_max and tasks_max do not count"),
    ],
)
def test_limits_need_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str | None, message: str | None
) -> None:
    """Version 1 has no such file, and a Raspberry Pi has no memory controller by default."""
    monkeypatch.setattr(system, "_CONTROLLERS", tmp_path / "cgroup.controllers")
    monkeypatch.setattr(system, "_LINK_SETTINGS", ())
    if controllers is not None:
        (tmp_path / "cgroup.controllers").write_text(controllers)
    found = list(system.check_kernel(None))  # type: ignore[arg-type]
    assert [(one.level, one.message) for one in found] == ([("warning", message)] if message else [])


def state(**more: Any) -> AppState:
    releases = (Release(name=f"000001-{ONE[:12]}", commit=ONE, good=True),)
    return AppState(releases=releases, current=releases[0].name, **more)


def stamp(**more: Any) -> dict[str, Any]:
    return {"at": datetime(2026, 8, 1, tzinfo=UTC), "deployment": "shop-20260801T120000000-000001", **more}


@pytest.mark.threat(38)
@pytest.mark.parametrize(
    ("now", "head", "level", "message"),
    [
        (state(), ONE, "ok", "is deployed"),
        (state(), TWO, "warning", "serves 111111111111, the head is 222222222222: no deployment"),
        (AppState(), TWO, "ok", "the branch's head is 222222222222"),
        (
            state(quarantined=(Quarantined(**stamp(commit=TWO, served=True, cause="it hangs")),)),
            TWO,
            "warning",
            "quarantined since 2026-08-01 00:00 UTC: it hangs",
        ),
        (
            AppState(quarantined=(Quarantined(**stamp(commit=TWO, served=False, cause="it does not start")),)),
            TWO,
            "warning",
            "serves nothing yet",
        ),
        (state(pin=Pinned(**stamp(commit=ONE, head=TWO))), TWO, "ok", "111111111111 is pinned"),
        (state(skipped=Skipped(**stamp(commit=TWO, base=ONE))), TWO, "ok", "changes none of the app's paths"),
    ],
)
def test_lag_levels(now: AppState, head: str, level: str, message: str) -> None:
    found: Finding
    (found,) = check_lag(app(), head, now, block_reason(now, head, Trigger.RECONCILE), now=NOW)
    assert (found.level, message in found.message) == (level, True), found.message


def test_frozen_app_is_ok() -> None:
    freeze = Freeze(reason="the fair", since=datetime(2026, 8, 1, tzinfo=UTC))
    (found,) = check_lag(app(), TWO, state(), block_reason(state(), TWO, Trigger.RECONCILE, freeze), now=NOW)
    assert (found.level, "the fair" in found.message) == ("ok", True), found.message


def test_published_lag_is_shown() -> None:
    """A failed build leaves no trace in the journal."""
    since = NOW - timedelta(hours=3)
    known = Lag(commits=2, since=since, verdict=Verdict.WAITING, why="the build failed; the next try is at 18:25")
    (found,) = check_lag(app(), TWO, state(), None, now=NOW, known=known)
    assert found.message == (
        "shop serves 111111111111, the head is 222222222222 (behind head by 2 commits for 3 h): "
        "the build failed; the next try is at 18:25"
    )
    assert found.hint == "sudo hookd deploy shop"


@pytest.mark.parametrize("verdict", [Verdict.UNREACHABLE, Verdict.FROZEN, Verdict.PINNED, Verdict.QUEUED])
def test_outdated_lag_is_ignored(verdict: Verdict) -> None:
    known = Lag(commits=None, since=NOW, verdict=verdict, why="the host is away")
    (found,) = check_lag(app(), TWO, state(), None, now=NOW, known=known)
    assert "no deployment has started" in found.message
    assert found.hint == "sudo hookd deploy shop"


@pytest.mark.threat(67)
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("git@git.example.org: Permission denied (publickey).", "sudo hookd app show shop"),
        ("Host key verification failed.", "ssh-keyscan"),
        ("git@x:a/b.git has no branch main", "--set branch="),
        ("ssh: connect to host x port 22: Connection refused", "sudo setsid --wait runuser -u manager -- /opt/hookd/"),
    ],
)
def test_git_error_selects_hint(said: str, message: str) -> None:
    assert message in hint_for(said, app())
