"""The commands of a backup and of its way back."""

from typing import Any

from hookd.model.app import App
from hookd.model.units.backup import backup_command, backup_kind, backup_label, restore_command
from tests.support.rendered import make_entry


def app_with(**release: Any) -> App:
    return make_entry("shop", {}, "http://127.0.0.1:9/", release={"commands": [["true"]], **release})


def test_sqlite_covers_every_data_directory() -> None:
    app = app_with(backup="sqlite")
    start = ("/python", "-I", "-m", "hookd.files.sqlite_copies")
    places = ("/var/lib/shop/uploads", "/var/lib/shop/logs")
    assert backup_command(app, "/python") == (*start, "save", *places)
    assert restore_command(app, "/python") == (*start, "load", *places)
    assert (backup_kind(app), backup_label(app)) == ("sqlite", "sqlite backup")


def test_own_commands_stay_as_written() -> None:
    app = app_with(backup=["pg_dump", "my shop"], restore=["psql", "my shop"])
    assert backup_command(app, "/python") == ("pg_dump", "my shop")
    assert restore_command(app, "/python") == ("psql", "my shop")
    assert (backup_kind(app), backup_label(app)) == ("command", "pg_dump my shop")


def test_no_backup_has_no_command() -> None:
    assert (backup_command(app_with(), "/python"), restore_command(app_with(), "/python")) == ((), ())
