"""The interpreters of a host, as a plan matches them."""

from pathlib import Path

import pytest

from hookd.model.hint import HintKind
from hookd.model.units.phases import MANAGED_PYTHONS
from units.finders.__main__ import _UV, install_hint, interpreters
from units.system import layout


def test_own_and_managed_pythons_are_listed(tmp_path: Path) -> None:
    """Both the system's and those that `uv python install` puts where an app can read them."""
    for name in ("bin/python3.11", "bin/python3.11-config", "bin/python3", "uv/cpython-3.13.5-linux-x86_64-gnu/bin/x",
                 "uv/cpython-3.11.9-linux-x86_64-gnu/bin/x", "uv/pypy-3.10.1-linux/bin/x"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert interpreters([tmp_path / "missing", tmp_path / "bin"], [tmp_path / "uv"]) == {
        "3.11": str(tmp_path / "bin/python3.11"),
        "3.13": str(tmp_path / "uv/cpython-3.13.5-linux-x86_64-gnu/bin/python3.13"),
    }
    assert MANAGED_PYTHONS in _UV


def test_only_servers_install_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []
    for config in (layout.CONFIG, Path("/home/ada/.hookd/shop/hookd.toml")):
        monkeypatch.setenv("HOOKD_CONFIG", str(config))
        kinds.append(install_hint())
    assert kinds == [HintKind.INSTALL_PYTHON, HintKind.INSTALL_OWN_PYTHON]
