"""Settings of the host that installers inside a server need to find and trust their index."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# The host's loopback address, seen from inside (slirp4netns(1)).
HOST_ADDRESS = "10.0.2.2"
NAME_SERVER = "10.0.2.3"

_VARIABLES = re.compile(r"(?i:https?_proxy|all_proxy|no_proxy)|UV_(INDEX|DEFAULT_INDEX|EXTRA_INDEX|INSECURE_HOST).*")
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")
_APT_KEYS = re.compile(r"Acquire::(https?|Check-|Retries)")
_CERTIFICATES = Path("/usr/local/share/ca-certificates")


@dataclass(frozen=True)
class Outside:
    """Files to write inside, variables that programs inside need, and options for apt."""

    files: Mapping[str, bytes]
    settings: Mapping[str, str]
    apt: tuple[str, ...]


def read_host_settings() -> Outside:
    """Read the host's settings."""
    settings = {name: _from_inside(value) for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}
    settings |= {"PIP_CERT": BUNDLE, "SSL_CERT_FILE": BUNDLE, "REQUESTS_CA_BUNDLE": BUNDLE}
    files = {
        "/etc/pip.conf": _pip_conf().encode(),
        "/etc/environment": "".join(f'{name}="{value}"\n' for name, value in sorted(settings.items())).encode(),
        **_certificates(),
    }
    return Outside(files, settings, _apt_options())


def mirrors(suite: str) -> tuple[str, ...]:
    """Return the sources of a Debian suite at the host's mirrors, or none on other systems."""
    if not shutil.which("apt-get"):
        return ()
    host = _codename()
    found = {}
    columns = "$(ORIGIN) $(SITE) $(RELEASE) $(COMPONENT)"
    for line in _output("apt-get", "indextargets", "--format", columns).splitlines():
        match line.split(" "):
            case ["Debian" | "", site, release, "main"] if host and release.startswith(host):
                found[release.removeprefix(host)] = site
    wanted = ("", "-updates", "-security")
    return tuple(f"deb {found[suffix]} {suite}{suffix} main" for suffix in wanted if suffix in found)


def _codename() -> str | None:
    text = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)", text, re.MULTILINE)
    return found[1] if found and re.search(r"^ID=debian$", text, re.MULTILINE) else None


def _pip_conf() -> str:
    """Build a pip.conf from pip's variables and files of the host, without local paths."""
    lines = ["[global]", f"cert = {BUNDLE}"]
    for line in _output(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        words = [word for word in str(ast.literal_eval(value)).split() if not word.startswith("file:")]
        if key.rpartition(".")[2] in _PIP_KEYS and words:
            lines.append(f"{key.rpartition('.')[2]} = {_from_inside(' '.join(words))}")
    return "\n".join(lines) + "\n"


def _certificates() -> dict[str, bytes]:
    """Return the host's added certificates, and the bundle that a variable names."""
    named = {os.environ.get(name, BUNDLE) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")} - {BUNDLE}
    bundles = [Path(name) for name in sorted(named) if Path(name).is_file()]
    found = {f"bundle-{number}.crt": path.read_bytes() for number, path in enumerate(bundles)}
    found |= {path.name: path.read_bytes() for path in sorted(_CERTIFICATES.glob("*.crt"))}
    return {f"{_CERTIFICATES}/{name}": content for name, content in found.items()}


def _apt_options() -> tuple[str, ...]:
    if not shutil.which("apt-config"):
        return ()
    return tuple(line for line in _output("apt-config", "dump", "Acquire").splitlines() if _APT_KEYS.match(line))


def _from_inside(text: str) -> str:
    return re.sub(r"(//|@)(127\.0\.0\.1|localhost)\b", rf"\g<1>{HOST_ADDRESS}", text)


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
