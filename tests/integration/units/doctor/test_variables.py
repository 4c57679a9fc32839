"""The doctor reads files of variables on a real disk."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hookd.config import Config
from hookd.model.catalogue import Catalogue
from hookd.model.settings import Settings
from tests.support.apps import app
from tests.support.users import as_nobody, open_directory
from units.apps.accounts import unit_users
from units.doctor.checks import git, variables
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding
from units.system import layout
from units.system.systemd import Unit

CONTEXT = HostContext(Path("/x"), Config(Path("/x"), Settings(), Catalogue()), (), {}, datetime.now(UTC), is_root=True)


def found(file: Path) -> list[Finding]:
    return list(variables.check_app(CONTEXT, app(build={"environment_file": str(file)})))


def test_plain_file_passes(tmp_path: Path) -> None:
    file = tmp_path / "shop"
    file.write_text("# why\nA='1'\n")
    assert found(file) == []


@pytest.mark.threat(85)
def test_misread_lines_are_errors(tmp_path: Path) -> None:
    file = tmp_path / "shop"
    file.write_text("A=1\nB=canary # note\nexport C=canary\n")
    assert [(one.level, one.message, one.hint) for one in found(file)] == [
        ("error", f'{file} line 2: a comment needs a line of its own, write B="..."', f"${{EDITOR:-vi}} {file}"),
        ("error", f'{file} line 3: `export` is not understood, write C="..."', f"${{EDITOR:-vi}} {file}"),
    ]


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    (one,) = found(tmp_path / "shop")
    assert (one.level, "are missing" in one.message) == ("error", True)


def test_closed_file_is_unknown() -> None:
    with open_directory() as directory:
        (directory / "shop").write_text("A=1\n")
        (directory / "shop").chmod(0o600)

        def message() -> str:
            with pytest.raises(CannotCheck) as denied:
                found(directory / "shop")
            return str(denied.value)

        assert as_nobody(message) == f"you may not read {directory}/shop"


def test_variables_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need not exist, but a misread proxy would be no proxy."""
    monkeypatch.setattr(layout, "WORKER_ENVIRONMENT", tmp_path / "worker.env")
    assert list(variables.check(CONTEXT)) == []
    (tmp_path / "worker.env").write_text("export HTTPS_PROXY=http://ada:canary@proxy:3128\n")
    (one,) = variables.check(CONTEXT)
    assert (one.level, 'write HTTPS_PROXY="..."' in one.message, "canary" in one.message) == ("warning", True, False)


def test_many_misread_lines_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "shop"
    file.write_text("".join(f"export A{number}=1\n" for number in range(20)))
    assert len(found(file)) == 9
    assert found(file)[-1].message == f"{file}: 12 more lines are misread"
    assert found(file)[-1].level == "error"


def test_refused_worker_variables_stop_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its proxies the repository would look unreachable."""
    monkeypatch.setattr(layout, "WORKER_ENVIRONMENT", tmp_path / "worker.env")
    (tmp_path / "worker.env").write_bytes(b"HTTPS_PROXY=http://proxy\nA=\0\n")
    with pytest.raises(CannotCheck, match=r"systemd refuses .*: a NUL byte") as refused:
        list(git.check_app(CONTEXT, app()))
    assert refused.value.hint == f"${{EDITOR:-vi}} {tmp_path}/worker.env"


def lacking(monkeypatch: pytest.MonkeyPatch, *pairs: str, **service: Any) -> list[Finding]:
    """Return the findings for an app whose existing unit sets these variables itself."""
    monkeypatch.setattr(unit_users, "read_properties", lambda *_: {"Environment": list(pairs)})
    context = replace(CONTEXT, units={"shop.service": Unit("shop.service", load="loaded")})
    return list(variables.check_app(context, app("restart", service={"units": "existing", **service})))


def test_variables_of_the_unit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phases read the file alone, so a check would fail where the service starts."""
    (one,) = lacking(monkeypatch, "SECRET_KEY=canary", "DEBUG=", "PATH=/bin", "HOOKD_HEALTH_PATH=/")
    wanted = "shop.service sets DEBUG, SECRET_KEY itself, so checks and release commands lack it"
    assert (one.level, one.message) == ("warning", wanted)
    assert one.hint is not None and one.hint.startswith(
        "sudo hookd app edit shop --set service.environment_file=/etc/hookd/env/shop"
    )


def test_variables_of_the_file_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("SECRET_KEY=canary\n")
    assert lacking(monkeypatch, "SECRET_KEY=old", environment_file=str(file)) == []
    (one,) = lacking(monkeypatch, "SECRET_KEY=old", "A=1", environment_file=str(file))
    assert (one.message.startswith("shop.service sets A itself"), one.hint) == (True, f"${{EDITOR:-vi}} {file}")


def test_cleared_variables_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """hookd's drop-in clears them, because they name the old code."""
    assert lacking(monkeypatch, "PYTHONPATH=/srv/old", listen="127.0.0.1:8000") == []
    assert len(lacking(monkeypatch, "PYTHONPATH=/srv/wiki")) == 1


def test_own_unit_matters_to_phases_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(monkeypatch, "A=1", preflight=[]) == []
