"""The worker reads files of variables that systemd reads as root."""

import os
from pathlib import Path

import pytest

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from tests.support.apps import app
from tests.support.users import as_nobody, open_directory
from worker.errors import DeployError
from worker.variables import build_variables, service_variables


def with_files(service: Path | None, build: Path | None = None) -> App:
    """Return an app of systemd with these files."""
    table = {"units": "hookd", "handover": "blue-green", "environment_file": service}
    return app(service=table, build={"environment_file": build, "environment": {"A": "given", "B": "given"}})


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """The service would not start, and its commit would be quarantined."""
    with pytest.raises(DeployError, match="cannot be read: No such file or directory"):
        service_variables(with_files(tmp_path / "missing"))


def test_file_overrides_build_variables(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("A='from the file'\n")
    assert build_variables(with_files(None, tmp_path / "build")) == {"A": "from the file", "B": "given"}


def test_hint_leads_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("export A=1\n")
    with pytest.raises(DeployError) as refused:
        service_variables(with_files(tmp_path / "shop"))
    assert refused.value.hint == Hint(HintKind.RUN_DOCTOR)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can close a file to others")
def test_closed_file_of_service_is_skipped() -> None:
    """A build cannot do without its file, while systemd gives the service its own."""
    with open_directory() as directory:
        file = directory / "closed"
        file.write_text("A=1\n")
        file.chmod(0o600)

        def build_error() -> str:
            with pytest.raises(DeployError) as error:
                build_variables(with_files(None, file))
            return str(error.value)

        assert as_nobody(lambda: service_variables(with_files(file))) == "{}"
        assert as_nobody(build_error) == f"the app's variables in {file} cannot be read: Permission denied"
