"""Installs hookd's code and virtual environment under /opt/hookd, owned by root: build aside, switch last.

`sudo ./run install` runs it with the system's Python, before any package is installed. So it needs the standard library
only.
"""

import argparse
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from units.changes.apply import Installer
from units.changes.change import Changes, Directory, File, Link, Run
from units.changes.manifest import HOST, Manifest
from units.system import layout
from units.system.disk import UnsafePath
from units.system.run import CommandFailed, run

_ROOMS: Final = ("hookd", "worker", "units")
_INSTALL_SECONDS: Final = 900

# -P: nothing is imported from the current directory, which may not be root's.
_WRAPPER: Final = f"""#!/bin/sh
# hookd's command. The code behind it: {layout.CURRENT}
exec {layout.PYTHON} -P -m hookd.cli "$@"
"""
# A shell loads its file at the first TAB after `hookd`. The file loads click's script from hookd itself.
COMPLETIONS: Final = (
    File(Path("/usr/share/bash-completion/completions/hookd"), 'eval "$(_HOOKD_COMPLETE=bash_source hookd)"\n'),
    File(
        Path("/usr/share/zsh/vendor-completions/_hookd"),
        '#compdef hookd\neval "$(_HOOKD_COMPLETE=zsh_source hookd)"\n_hookd_completion "$@"\n',
    ),
    File(Path("/usr/share/fish/vendor_completions.d/hookd.fish"), "_HOOKD_COMPLETE=fish_source hookd | source\n"),
)

_DIRECTORIES: Final[Changes] = (
    Directory(layout.SETUP_STATE, "root", "root", 0o700),
    Directory(layout.CODE, "root", "root", 0o755),
    Directory(layout.CODE / "versions", "root", "root", 0o755),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End the program with a message and the next command to type."""
        self.exit(2, f"hookd: {message}\n  next: sudo ./run install --help\n")


def main(arguments: list[str]) -> int:
    """Install the checkout of the first argument, and return the exit status."""
    parser = _Parser(prog="./run install", description="Put hookd under /opt/hookd, owned by root.")
    parser.add_argument("checkout", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dry-run", action="store_true", help="show the changes and make none")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("hookd: only root can install\n  next: sudo ./run install", file=sys.stderr)
        return 2
    os.umask(0o022)
    try:
        _install(options.checkout, dry_run=options.dry_run)
    except (CommandFailed, UnsafePath, OSError) as error:
        print(f"hookd: the installation stopped: {error}\n  next: sudo ./run install", file=sys.stderr)
        return 1
    return 0


def _install(checkout: Path, *, dry_run: bool) -> None:
    version = layout.CODE / "versions" / version_of(checkout)
    built = (version / "complete").exists()
    if not dry_run:
        layout.SETUP_STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    installer = Installer(Manifest.load(layout.MANIFEST), HOST, print, dry_run=dry_run)
    installer.apply(_DIRECTORIES)
    if not built:
        print(f"+ build      {version}  (code, and venv from units/requirements.txt)")
        if not dry_run:
            _build(checkout, version)
    installer.apply(_switch_changes(version))
    if not dry_run:
        _remove_old_versions(version)
        print(f"hookd is installed: {version}\n  next: sudo hookd setup --dry-run")


def _switch_changes(version: Path) -> Changes:
    """Build the changes that make the command and the units use a complete version."""
    units = ("hookd.service", "hookd-worker@*.service")
    restart = Run(
        ("systemctl", "try-restart", "--no-block", *units),
        "services load the new code; a running deployment ends first",
        after=(layout.CURRENT,),
    )
    is_set_up = (layout.SYSTEMD / "hookd.service").exists()
    return (
        Link(layout.CURRENT, version),
        File(layout.COMMAND, _WRAPPER, mode=0o755),
        *(file for file in COMPLETIONS if file.path.parent.is_dir()),
        *((restart,) if is_set_up else ()),
    )


def version_of(checkout: Path) -> str:
    """Return a version's name: the project's version, and a digest of code, requirements and Python."""
    digest = hashlib.sha256(sys.version.encode())
    for file in _files(checkout):
        digest.update(f"{file.relative_to(checkout)}\0".encode() + file.read_bytes())
    text = (checkout / "hookd" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if version is None:
        raise OSError(f"{checkout} is no checkout of hookd")
    return f"{version[1]}-{digest.hexdigest()[:12]}"


def _files(checkout: Path) -> Iterator[Path]:
    for room in _ROOMS:
        for file in sorted((checkout / room).rglob("*")):
            if file.is_file() and not file.is_symlink() and "__pycache__" not in file.parts:
                yield file


def _build(checkout: Path, version: Path) -> None:
    """Build at the final path, because a virtual environment cannot be moved."""
    shutil.rmtree(version, ignore_errors=True)
    for file in _files(checkout):
        target = version / "code" / file.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o644)
    _build_venv(version)
    (version / "complete").touch()


def _build_venv(version: Path) -> None:
    venv, lock = version / "venv", version / "code" / "units" / "requirements.txt"
    python = str(venv / "bin" / "python")
    run((sys.executable, "-m", "venv", str(venv)), seconds=_INSTALL_SECONDS)
    run(
        (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)),
        seconds=_INSTALL_SECONDS,
        extra=_pip_variables(),
    )
    site = next((venv / "lib").glob("python3.*")) / "site-packages"
    (site / "hookd.pth").write_text(f"{version / 'code'}\n", encoding="utf-8")
    # Only root may write bytecode beside the code.
    run((python, "-m", "compileall", "-q", str(version / "code")))


def _pip_variables() -> dict[str, str]:
    """Return the shell's variables for indexes, proxies and certificates."""
    wanted = ("PIP_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    return {name: value for name, value in os.environ.items() if name.startswith(wanted)}


def _remove_old_versions(version: Path) -> None:
    """Remove old versions but the newest of them, which a running deployment may still use."""
    others = [path for path in version.parent.iterdir() if path != version]
    for path in sorted(others, key=lambda one: one.stat().st_mtime)[:-1]:
        shutil.rmtree(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
