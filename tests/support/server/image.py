"""Builds the Debian that servers and containers start from, once per content, and keeps it."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server.outside import NAME_SERVER, Outside, mirrors, read_host_settings
from tests.support.server.places import cache, locked

HOSTNAME = "server"
# Lets hookd's timer wait for a day, because each run costs a second of a core on every server of the tests.
RARELY = "/etc/systemd/system/hookd-reconcile.timer.d/rarely.conf"
_BUILD_SECONDS = 900
# Half of all files. Official images of containers have none of them either.
_DOCUMENTATION = ("doc", "locale", "man")
_KEEP_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True)
class Recipe:
    """The content of an image: Debian's smallest set, packages, files, and disabled units."""

    name: str
    suite: str
    packages: tuple[str, ...]
    disabled: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


# The newer server also runs the Docker Engine of other tests, since each image takes a minute of a core.
_ENGINE = {"trixie": ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "iptables")}
# Later suites do not install them.
_OLD_SUITES = ("bookworm", "trixie")
_OLD_UNITS = ("e2scrub_all.timer", "e2scrub_reap.service")
_ENGINE_UNITS = {"trixie": ("docker.service", "docker.socket", "containerd.service")}


def server(suite: str) -> Recipe:
    """Return the recipe of a fresh server with the packages that hookd expects."""
    return Recipe(
        name=f"server-{suite}",
        suite=suite,
        packages=(
            *("systemd", "systemd-sysv", "dbus", "sudo", "libpam-systemd", "procps", "iproute2", "acl", "logrotate"),
            *("nginx-light", "git", "python3", "python3-venv", "ca-certificates", "curl", "openssl"),
            *("openssh-server", "openssh-client", "fail2ban", "python3-systemd", "nftables", "apparmor"),
            *_ENGINE.get(suite, ()),
        ),
        # Units that would start at random times, and units that tests start themselves.
        disabled=(
            *("ssh.service", "fail2ban.service", "nftables.service"),
            *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
            "fstrim.timer",
            *(_OLD_UNITS if suite in _OLD_SUITES else ()),
            *_ENGINE_UNITS.get(suite, ()),
        ),
        files={
            # Debian writes no /var/log/auth.log by default; without this fail2ban does not start.
            "/etc/fail2ban/jail.d/backend.conf": "[DEFAULT]\nbackend = systemd\nbanaction = nftables\n",
            RARELY: "[Timer]\nOnBootSec=\nOnUnitInactiveSec=\nOnBootSec=1d\n",
        },
    )


def image(recipe: Recipe) -> Path:
    """Return the root of an image, which must not change. A missing one is built in about half a minute."""
    outside = read_host_settings()
    path = cache() / "images" / f"{recipe.name}-{_digest(recipe, outside)}"
    with locked(f"image-{recipe.name}"):
        if not path.is_dir():
            _delete_old(path.parent)
            _build(recipe, outside, path)
        os.utime(path)
    return path


def image_settings(root: Path) -> dict[str, str]:
    """Return the image's proxies, indexes and certificates for programs inside."""
    lines = (root / "etc/environment").read_text().splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _digest(recipe: Recipe, outside: Outside) -> str:
    content = (recipe, outside, mirrors(recipe.suite), Path(__file__).read_text())
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _delete_old(images: Path) -> None:
    """Delete images that were unused for two weeks. Another session may use a younger one."""
    for old in images.glob("[!.]*"):
        if old.stat().st_mtime < time.time() - _KEEP_SECONDS:
            shutil.rmtree(old)


def _build(recipe: Recipe, outside: Outside, path: Path) -> None:
    """Build beside the final place, and delete an incomplete build."""
    partial = path.with_name(f".partial-{recipe.name}")
    shutil.rmtree(partial, ignore_errors=True)
    path.parent.mkdir(exist_ok=True)
    _bootstrap(recipe, outside, partial)
    _configure(partial, {**outside.files, **{name: text.encode() for name, text in recipe.files.items()}})
    if recipe.disabled:
        _call("chroot", str(partial), "systemctl", "disable", *recipe.disabled)
    for name in _DOCUMENTATION:
        shutil.rmtree(partial / "usr/share" / name)
    partial.rename(path)


def _bootstrap(recipe: Recipe, outside: Outside, root: Path) -> None:
    options = (f"--aptopt={option}" for option in ('Acquire::Languages "none"', *outside.apt))
    packages = f"--include={','.join(recipe.packages)}"
    fast = ("--variant=minbase", "--dpkgopt=force-unsafe-io")
    _call("mmdebstrap", *fast, packages, *options, recipe.suite, str(root), *mirrors(recipe.suite))


def _configure(root: Path, files: Mapping[str, bytes]) -> None:
    """Write the image's name and the host's network settings."""
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
    """Return the entries of the host's /etc/hosts without the host itself."""
    lines = Path("/etc/hosts").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("127.", "::1", "fe00:", "ff0", "#")))


def _call(*argv: str) -> None:
    env = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, env=env)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"[-4000:])
