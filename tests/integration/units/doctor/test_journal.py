"""The doctor reads an app's journal on a real disk, and names each line that hookd ignores."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hookd.config import Config
from hookd.model.catalogue import Catalogue
from hookd.model.settings import Settings
from tests.support.apps import app
from tests.support.journals import deployed
from units.doctor.checks import journal
from units.doctor.context import HostContext
from units.doctor.finding import Finding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a journal of three events."""
    settings = Settings(state=tmp_path)
    path = settings.journal_path("shop")
    deployed(path, "1" * 40)
    return path


def found(path: Path) -> list[Finding]:
    config = Config(Path("/x"), Settings(state=path.parent.parent), Catalogue())
    context = HostContext(Path("/x"), config, (), {}, datetime.now(UTC), is_root=True)
    return list(journal.check_app(context, app()))


def test_whole_journal_passes(path: Path) -> None:
    assert found(path) == []
    path.unlink()
    assert found(path) == []


def test_ignored_lines_are_an_error(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"kind":"surprise"}\n{"kind":"good","release":"none"}\n')
    (one,) = found(path)
    message = f"{path}: 2 lines are no events and ignored, first line 4"
    assert (one.level, one.message, one.hint) == ("error", message, f"sudo sed -n 4p {path}")


def test_torn_line_is_named(path: Path) -> None:
    """A deployment goes on only from a whole line, so a crash leaves no fault."""
    text = path.read_text()
    path.write_text(text + '{"kind":"bui\n' + text)
    (one,) = found(path)
    assert (one.level, f"{path} line 4" in one.message) == ("ok", True)
