"""The configuration of circus."""

import shlex
from pathlib import Path

import pytest
from circus.util import replace_gnu_args

from hookd.model.tables.service import Service
from units.apps.table.options import parse_app
from units.render.circus import CircusApp, CircusConfig, circus_app
from units.system.errors import Refused


def test_circus_has_programs_then_colours(tmp_path: Path) -> None:
    services = (
        CircusApp("shop", tmp_path / "shop", 8000, ("blue", "green")),
        CircusApp("blog", tmp_path / "blog", 8001, (None,)),
    )
    circus = CircusConfig(tmp_path, services, {"redis": "r", "worker": "w"}, {"A": "b"})
    sections = [line for line in circus.ini.splitlines() if line.startswith("[watcher")]
    wanted = ("redis", "worker", "shop-blue", "shop-green", "blog")
    assert sections == [f"[watcher:{name}]" for name in wanted]
    assert [line for line in circus.ini.splitlines() if line.startswith("priority")] == ["priority = 2", "priority = 1"]


def test_health_table_reaches_the_gate(tmp_path: Path) -> None:
    health = {"url": "http://127.0.0.1:8000/up?a=b", "host": "shop.example.org", "deadline": 15, "status": "<500"}
    app = parse_app(
        "shop",
        {
            "repository": "https://example.org/acme/shop.git",
            "full_name": "acme/shop",
            "root": str(tmp_path),
            "service": {"manager": "circus", "endpoint": "ipc:///c", "listen": "127.0.0.1:8000"},
            "health": health,
        },
    )
    lines = CircusConfig(tmp_path, (circus_app(app),)).ini.splitlines()
    assert [line.removeprefix("HOOKD_HEALTH_") for line in lines if line.startswith("HOOKD_HEALTH")] == [
        "PATH = /up?a=b",
        "STATUS = <500",
        "HOST = shop.example.org",
        "SECONDS = 10",
    ]


def started(app: CircusApp) -> list[str]:
    """Return the command as circus starts it."""
    command = app.command("/srv/shop/current", [app.name])
    command = replace_gnu_args(command, sockets={app.name: 7}, env={"HOME": "/root"})
    return shlex.split(command.replace("$WID", "1"))


def test_entry_reaches_gunicorn_unchanged(tmp_path: Path) -> None:
    entry = "shop:make('$(circus.env.HOME) ((circus.env.home)) $WID', it=\"'\")"
    service = Service(entry=entry, workers=3)
    words = started(CircusApp("shop", tmp_path, 8000, (None,), service=service))
    assert words[-5:] == ["--workers", "3", "--bind", "fd://7", entry]


def test_own_command_gets_its_address(tmp_path: Path) -> None:
    service = Service.model_validate(
        {
            "manager": "circus",
            "endpoint": "ipc:///c",
            "command": ["serve", "$(circus.sockets.shop)"],
            "directory": "web",
        }
    )
    app = CircusApp("shop", tmp_path, 8000, (None,), service=service)
    assert started(app)[-2:] == ["serve", "$(circus.sockets.shop)"]
    lines = CircusConfig(tmp_path, (app,)).ini.splitlines()
    assert {"HOST = 127.0.0.1", "PORT = 8000", "HOOKD_DIRECTORY = ./web"} <= set(lines)
    assert "[socket:shop]" not in lines


def test_control_characters_are_refused(tmp_path: Path) -> None:
    service = Service.model_validate({"manager": "circus", "endpoint": "ipc:///c", "command": ["serve", "a\nb"]})
    with pytest.raises(Refused):
        CircusApp("shop", tmp_path, 8000, (None,), service=service).command("/srv", [])
