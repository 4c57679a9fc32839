"""The app's service: its entry, its own command, and the health answers that count."""

import pytest
from pydantic import ValidationError

from hookd.model.tables.health import Health
from hookd.model.tables.service import Service

CIRCUS = {"manager": "circus", "endpoint": "ipc:///run/c"}


@pytest.mark.parametrize(
    "entry",
    [
        "wsgi",
        "wsgi:app",
        "shop.web:create_app()",
        "shop:make('production')",
        "shop:make('a b', debug=False, sizes=[1, -2], more={'x': (None, b'y')})",
    ],
)
def test_entries_of_gunicorn(entry: str) -> None:
    assert Service(entry=entry).entry == entry


@pytest.mark.parametrize(
    "entry",
    [
        "",
        ":app",
        "wsgi:",
        "--config:app",
        "shop/wsgi:app",
        "shop:make(os.environ)",
        "shop:make(__import__('os').system('id'))",
        "shop:make(**{'a': 1})",
        "shop:make()()",
        "shop:a.b",
        "shop:a, b",
        "shop:make('\n')",
        "shop:app\nUser=root",
        "shop:make(",
        "shop:lambda: 1",
    ],
)
def test_other_entries_are_refused(entry: str) -> None:
    with pytest.raises(ValidationError, match="a module and its callable"):
        Service(entry=entry)


@pytest.mark.parametrize(
    "table", [{"units": "existing"}, {"units": "hookd", "handover": "blue-green"}, {**CIRCUS, "handover": "blue-green"}]
)
def test_own_command_needs_a_restart(table: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="command only with"):
        Service.model_validate({"command": ["serve"], **table})


@pytest.mark.parametrize(
    ("listen", "address"), [(None, None), ("unix:/run/x.sock", None), ("127.0.0.1:5000", "127.0.0.1:5000")]
)
def test_own_command_listens_on_tcp(listen: str | None, address: str | None) -> None:
    assert Service(units="hookd", command=("serve",), listen=listen).own_address == address
    assert Service(units="hookd", listen=listen).own_address is None


@pytest.mark.parametrize(
    ("status", "accepted", "refused"), [(204, (204,), (200, 302, 500)), ("<500", (200, 302, 401, 404), (500, 503))]
)
def test_healthy_answers(status: int | str, accepted: tuple[int, ...], refused: tuple[int, ...]) -> None:
    health = Health.model_validate({"url": "http://127.0.0.1:1/", "status": status})
    assert all(map(health.accepts, accepted))
    assert not any(map(health.accepts, refused))
