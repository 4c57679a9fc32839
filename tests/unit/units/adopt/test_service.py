"""Units of a project in the output of `systemctl show`."""

from pathlib import Path

import pytest

from units.adopt.discovery.service import units_in

ROOT = Path("/opt/shop")
COMMAND = "ExecStart={ path=%s ; argv[]=%s ; ignore_errors=no ; status=0/0 }\n"


def unit(name: str, *programs: str, directory: str = "", arguments: str = "") -> str:
    commands = "".join(COMMAND % (program, f"{program} {arguments}") for program in programs)
    return f"{commands}WorkingDirectory={directory}\nId={name}.service\nActiveState=active\n"


def names(*units: str) -> list[str]:
    return [one["Id"] for one in units_in(ROOT, "\n".join(units))]


@pytest.mark.parametrize("directory", ["/opt/shop", "/opt/shop/src", "!/opt/shop"])
def test_working_directory_counts(directory: str) -> None:
    assert names(unit("shop", "/usr/bin/gunicorn", directory=directory)) == ["shop.service"]


def test_program_counts() -> None:
    assert names(unit("shop", "/opt/shop/venv/bin/gunicorn")) == ["shop.service"]
    assert names(unit("shop", "/bin/true", "/opt/shop/run.sh")) == ["shop.service"]


@pytest.mark.parametrize("place", ["/opt/shop2", "/opt", "/srv/opt/shop", ""])
def test_other_places_do_not_count(place: str) -> None:
    assert names(unit("other", f"{place}/run", directory=place)) == []


def test_arguments_do_not_count() -> None:
    assert names(unit("backup", "/usr/bin/tar", arguments="/opt/shop")) == []


def test_interim_unit_is_ignored() -> None:
    web, mail = unit("web", "/opt/shop/run"), unit("mail", "/opt/shop/mail")
    assert names(web, unit("web-interim", "/opt/shop/run"), mail) == ["mail.service", "web.service"]
