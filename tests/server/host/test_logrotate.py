"""logrotate with the rendered files, for logs of apps and of deployments."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.programs import program, run
from tests.support.rendered import HOST, SHOP, files
from tests.support.users import open_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can rotate the logs of another user")
DAY = 86_400


def rotation(directory: Path, path: str, **places: str) -> Path:
    """Return the rendered file with other paths."""
    text = files(HOST, SHOP)[Path(path)].text
    for old, new in places.items():
        text = text.replace({"logs": "/var/lib/shop/logs", "all": "/var/log/hookd"}.get(old, old), new)
    file = directory / Path(path).name
    file.write_text(text)
    return file


def rotate(config: Path, *options: str) -> str:
    logrotate = program("logrotate", "logrotate")
    done = run(logrotate, "--state", str(config.with_suffix(".state")), *options, str(config))
    return f"{done.returncode} {done.stdout}"


@pytest.mark.parametrize("path", ["/etc/logrotate.d/hookd", "/etc/logrotate.d/hookd-shop"])
@needs_root
def test_logrotate_accepts_the_file(path: str, tmp_path: Path) -> None:
    text = files(HOST, SHOP)[Path(path)].text.replace("su manager hookd", "su nobody nogroup")
    config = tmp_path / "config"
    config.write_text(text)
    said = rotate(config, "--debug")
    assert said.startswith("0 ")
    assert "error" not in said
    config.write_text(text.replace("missingok", "missing-ok"))
    assert "error" in rotate(config, "--debug")


@needs_root
def test_app_log_is_rotated(tmp_path: Path) -> None:
    with open_directory() as directory:
        logs = of_www_data(directory / "logs")
        log = logs / "app.log"
        log.touch()
        shutil.chown(log, "www-data", "www-data")
        config = rotation(tmp_path, "/etc/logrotate.d/hookd-shop", logs=str(logs))
        with log.open("a") as held:
            for text in ("first\n", "second\n"):
                held.write(text)
                held.flush()
                assert rotate(config, "--force").startswith("0 ")
        assert sorted(path.name for path in logs.iterdir()) == ["app.log", "app.log.1", "app.log.2.gz"]
        # The app wrote on into the same file, which is empty again.
        assert (log.read_text(), (logs / "app.log.1").read_text().strip("\0")) == ("", "second\n")
        assert (logs / "app.log.1").owner() == "www-data"


@needs_root
def test_logrotate_needs_su(tmp_path: Path) -> None:
    with open_directory() as directory:
        logs = of_www_data(directory / "logs")
        (logs / "app.log").write_text("line\n")
        config = rotation(tmp_path, "/etc/logrotate.d/hookd-shop", logs=str(logs), **{"    su www-data www-data\n": ""})
        assert "insecure permissions" in rotate(config, "--force")
        assert [path.name for path in logs.iterdir()] == ["app.log"]


@pytest.mark.threat(35)
@needs_root
def test_linked_log_reaches_no_foreign_file(tmp_path: Path) -> None:
    with open_directory() as directory:
        logs = of_www_data(directory / "logs")
        victim = directory / "victim"
        victim.write_text("root's own\n")
        victim.chmod(0o600)
        (logs / "app.log").symlink_to(victim)
        config = rotation(tmp_path, "/etc/logrotate.d/hookd-shop", logs=str(logs))
        rotate(config, "--force")
        assert victim.read_text() == "root's own\n"
        assert not [path for path in logs.iterdir() if path.name != "app.log" and "root's own" in path.read_text()]


@needs_root
def test_only_old_logs_are_removed(tmp_path: Path) -> None:
    with open_directory() as directory:
        logs = directory / "hookd"
        owners = {"su manager hookd": "su nobody nogroup"}
        config = rotation(tmp_path, "/etc/logrotate.d/hookd", all=str(logs), **owners)
        for name, age in (("old", 91), ("older", 300), ("young", 89), ("new", 0)):
            log = logs / "shop" / f"{name}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(name)
            os.utime(log, (time.time() - age * DAY,) * 2)
        for path in (logs, logs / "shop", *(logs / "shop").iterdir()):
            shutil.chown(path, "nobody", "nogroup")
        # The first run only remembers that it has seen them.
        state = config.with_suffix(".state")
        assert rotate(config).startswith("0 ")
        state.write_text(state.read_text().replace(time.strftime("%Y-"), "2020-"))
        assert rotate(config).startswith("0 ")
        assert sorted(path.name for path in (logs / "shop").iterdir()) == ["new.log", "young.log"]


def of_www_data(logs: Path) -> Path:
    """Return an app's log directory, as `hookd app add` makes it."""
    logs.mkdir()
    shutil.chown(logs, "www-data", "www-data")
    logs.chmod(0o2770)
    return logs
