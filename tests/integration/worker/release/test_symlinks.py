"""Links to releases: atomic and written to disk."""

import os
import threading
from pathlib import Path

import pytest

from hookd.files.links import link_changed_at, switch_link
from tests.support.on_disk import noted


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.threat(31)
def test_link_is_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = noted(monkeypatch)
    switch_link(root / "current", root / "releases" / "one")
    assert done == [f"replaced {root / 'current'}", f"synced {root}"]


def test_switch_is_atomic(root: Path) -> None:
    link, names = root / "current", ("one", "two")
    switch_link(link, root / "releases" / "one")
    over, found = threading.Event(), set()

    def read() -> None:
        while not over.is_set():
            found.add(os.path.realpath(link))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(500):
        switch_link(link, root / "releases" / names[number % 2])
    over.set()
    reader.join()
    assert found <= {str(root / "releases" / name) for name in names}
    assert sorted(os.listdir(root)) == ["current", "releases"]


def test_link_changed_at(root: Path) -> None:
    link = root / "current"
    assert link_changed_at(link) is None
    switch_link(link, root / "releases" / "one", since=1_700_000_000)
    assert link_changed_at(link) == 1_700_000_000
