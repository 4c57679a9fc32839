"""The units of a person, which hookd completes with a drop-in and a socket, or leaves alone."""

from pathlib import Path

import pytest

from tests.support.rendered import ADOPTED, FOREIGN, HOST, UNITS, directives, files, links, make_entry, unit, unit_files


def test_existing_unit_gets_a_drop_in() -> None:
    [path] = [path for path in files(HOST, ADOPTED) if path.name == "hookd.conf" and "systemd" in path.parts]
    assert path == UNITS / "old.service.d" / "hookd.conf"
    found = directives(files(HOST, ADOPTED)[path].text)
    assert found["ExecStart"][0] == ""
    start = "/bin/sh /opt/hookd/current/code/units/in_release.sh /opt/old/current/venv/bin/python "
    assert found["ExecStart"][1].startswith(start)
    assert found["ExecReload"] == [""]
    assert found["WorkingDirectory"] == ["/opt/old/current"]
    assert found["Sockets"] == ["old.socket"]
    assert found["RuntimeDirectoryPreserve"] == ["yes"]
    assert unit(HOST, "old.socket", ADOPTED)["ListenStream"] == ["127.0.0.1:8000"]


def test_foreign_unit_is_left_alone() -> None:
    assert unit_files(HOST, FOREIGN) == set()
    assert Path("/etc/sudoers.d/hookd-wiki") in files(HOST, FOREIGN)


def test_existing_unit_s_socket_is_enabled() -> None:
    wanted = UNITS / "sockets.target.wants" / "old.socket"
    assert {path: target for path, target in links(HOST, ADOPTED).items() if path.is_relative_to(UNITS)} == {
        wanted: UNITS / "old.socket"
    }


def test_unit_keeps_its_own_socket() -> None:
    app = make_entry("held", {"own_socket": True, "workers": 7}, "http://127.0.0.1:8000/up", site={}, shared={})
    assert unit_files(HOST, app) == {UNITS / "held.service.d" / "hookd.conf"}
    assert not [path for path in links(HOST, app) if path.is_relative_to(UNITS)]
    text = files(HOST, app)[UNITS / "held.service.d" / "hookd.conf"].text
    assert "Sockets=held.socket" in text
    # What of it the app's file says: a change of that must reach the drop-in.
    assert "--workers 7" in text and "HOOKD_HEALTH_PATH=/up" in text


@pytest.mark.parametrize("more", [{"units": "hookd"}, {"listen": "127.0.0.1:8000"}], ids=str)
def test_own_socket_excludes_listen(more: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="own_socket belongs to"):
        make_entry("held", {"own_socket": True, **more}, "http://127.0.0.1:8000/")
