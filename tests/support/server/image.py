"""Builds the Debian that servers and containers start from, once per content, and keeps it."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server.outside import NAME_SERVER, Outside, look_outside, mirrors
from tests.support.server.places import cache, locked

HOSTNAME = "server"
_BUILD_SECONDS = 900
_KEEP_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True)
class Recipe:
    """What is in an image: Debian's smallest set, packages, files, and units that do not start by themselves."""

    name: str
    suite: str
    packages: tuple[str, ...]
    asleep: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def server(suite: str) -> Recipe:
    """A fresh server, with what people install on one before they install hookd."""
    return Recipe(
        name=f"server-{suite}",
        suite=suite,
        packages=(
            *("systemd", "systemd-sysv", "dbus", "sudo", "libpam-systemd", "procps", "iproute2", "acl", "logrotate"),
            *("nginx-light", "git", "python3", "python3-venv", "ca-certificates", "curl", "openssl"),
            *("openssh-server", "openssh-client", "fail2ban", "python3-systemd", "nftables", "apparmor"),
        ),
        # What a fresh host would do by itself at some time, and what the tests switch on when they want it.
        asleep=(
            *("ssh.service", "fail2ban.service", "nftables.service"),
            *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
            *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
        ),
        # Debian writes no /var/log/auth.log by default; without this fail2ban does not start.
        files={"/etc/fail2ban/jail.d/backend.conf": "[DEFAULT]\nbackend = systemd\nbanaction = nftables\n"},
    )


def image(recipe: Recipe) -> Path:
    """The root of an image, which nobody may change; built when it is not there, in about half a minute."""
    outside = look_outside()
    path = cache() / "images" / f"{recipe.name}-{_digest(recipe, outside)}"
    with locked(f"image-{recipe.name}"):
        if not path.is_dir():
            _forget_old(path.parent)
            _build(recipe, outside, path)
        os.utime(path)
    return path


def image_settings(root: Path) -> dict[str, str]:
    """What an image was given: the proxies, indexes and certificates that programs inside need."""
    lines = (root / "etc/environment").read_text().splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _digest(recipe: Recipe, outside: Outside) -> str:
    content = (recipe, outside, mirrors(recipe.suite), Path(__file__).read_text())
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _forget_old(images: Path) -> None:
    """Delete images that nobody has used for two weeks; a younger one may be in use by another session."""
    for old in images.glob("[!.]*"):
        if old.stat().st_mtime < time.time() - _KEEP_SECONDS:
            shutil.rmtree(old)


def _build(recipe: Recipe, outside: Outside, path: Path) -> None:
    """Build beside the final place; what was left half-way is deleted."""
    partial = path.with_name(f".partial-{recipe.name}")
    shutil.rmtree(partial, ignore_errors=True)
    path.parent.mkdir(exist_ok=True)
    _bootstrap(recipe, outside, partial)
    _settle(partial, {**outside.files, **{name: text.encode() for name, text in recipe.files.items()}})
    if recipe.asleep:
        _call("chroot", str(partial), "systemctl", "disable", *recipe.asleep)
    partial.rename(path)


def _bootstrap(recipe: Recipe, outside: Outside, root: Path) -> None:
    options = (f"--aptopt={option}" for option in outside.apt)
    packages = f"--include={','.join(recipe.packages)}"
    _call("mmdebstrap", "--variant=minbase", packages, *options, recipe.suite, str(root), *mirrors(recipe.suite))


def _settle(root: Path, files: Mapping[str, bytes]) -> None:
    """Give the image a name, and what it must know of the host's surroundings."""
    named = {
        "/etc/hostname": f"{HOSTNAME}\n".encode(),
        "/etc/hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n{_known_addresses()}".encode(),
        "/etc/resolv.conf": f"nameserver {NAME_SERVER}\n".encode(),
    }
    for name, content in {**named, **files}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    _call("chroot", str(root), "update-ca-certificates")


def _known_addresses() -> str:
    """The host's own address book, without itself."""
    lines = Path("/etc/hosts").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("127.", "::1", "fe00:", "ff0", "#")))


def _call(*argv: str) -> None:
    env = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, env=env)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"[-4000:])
