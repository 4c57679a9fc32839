"""A git host inside a machine: repositories over ssh with deploy keys."""

from tests.support.repository import IDENTITY, Repository
from tests.support.server.machine import Machine

NAME = "git.example.org"
PORT = 2222
# An address of its own, so that port 22 is free there whatever else the server runs.
_ADDRESS = "127.0.0.2"
_HOME = "/opt/githost"
_UNIT = "git-host.service"

_SSHD = f"""\
ListenAddress {_ADDRESS}:22
ListenAddress 127.0.0.1:{PORT}
HostKey {_HOME}/host_key
AuthorizedKeysFile {_HOME}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowUsers git
UsePAM no
PidFile none
"""
_SERVICE = f"""\
[Unit]
Description=A git host for tests
[Service]
Type=notify
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -f {_HOME}/sshd_config
[Install]
WantedBy=multi-user.target
"""
# The limit of a deploy key: it reads one repository.
_READ = f"""\
#!/bin/sh
wanted=$(printf '%s' "$SSH_ORIGINAL_COMMAND" | sed -n "s|^git-upload-pack '/\\{{0,1\\}}\\(.*\\)'$|\\1|p")
[ "$wanted" = "$1.git" ] || {{ echo "ERROR: this key may only read $1" >&2; exit 1; }}
cd {_HOME}/repositories && exec git-shell -c "git-upload-pack '$wanted'"
"""


class ServedRepository(Repository):
    """A repository of the git host: the test writes files, and the machine's own git commits and pushes them."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._inside = f"{_HOME}/made/{name}"
        self._name = name
        self.bare = machine.disk / self._inside.lstrip("/") / "remote.git"
        self.work = self.bare.with_name("work")
        if not self.work.exists():
            self._make()

    @property
    def url(self) -> str:
        """The repository's address: git@HOST:OWNER/NAME.git."""
        return f"git@{NAME}:{self._name}.git"

    @property
    def url_with_port(self) -> str:
        """The same repository with a port in its address."""
        return f"ssh://git@127.0.0.1:{PORT}/{self._name}.git"

    def git(self, *arguments: str) -> str:
        """Run git in the work tree and return what it printed."""
        return self._machine.run("git", *arguments, env=IDENTITY, directory=f"{self._inside}/work").stdout

    def _make(self) -> None:
        self.work.mkdir(parents=True)
        self.git("init", "-q", "--bare", "-b", "main", "../remote.git")
        self.git("init", "-q", "-b", "main", ".")
        self.git("remote", "add", "origin", f"{self._inside}/remote.git")
        link = self._machine.disk / f"{_HOME.lstrip('/')}/repositories/{self._name}.git"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"{self._inside}/remote.git")


class GitHost:
    """The git host of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def known_hosts(self) -> str:
        """Lines for a known_hosts file: the host under its name, and under its address with a port."""
        key = " ".join(self._machine.read(f"{_HOME}/host_key.pub").split()[:2])
        return f"{NAME} {key}\n[127.0.0.1]:{PORT} {key}\n"

    def repository(self, name: str) -> ServedRepository:
        """Return the repository OWNER/NAME, and create it if it is missing."""
        return ServedRepository(self._machine, name)

    def allow_reading(self, public_key: str, name: str) -> None:
        """Permit a deploy key to read one repository."""
        self._allow(f'command="{_HOME}/read {name}",restrict {public_key.strip()}')

    def allow_nothing(self) -> None:
        """Remove every key."""
        self._machine.write(f"{_HOME}/authorized_keys", "")

    def stop(self) -> None:
        """Stop the host."""
        self._machine.run("systemctl", "stop", _UNIT)

    def start(self) -> None:
        """Start the host."""
        self._machine.run("systemctl", "start", _UNIT)

    def _allow(self, line: str) -> None:
        path = f"{_HOME}/authorized_keys"
        self._machine.write(path, f"{self._machine.read(path)}{line}\n")


def git_host(machine: Machine) -> GitHost:
    """Install and start the git host, unless the machine has it. It starts with the machine."""
    if not machine.path(_HOME).exists():
        _install(machine)
    return GitHost(machine)


def _install(machine: Machine) -> None:
    machine.write(f"{_HOME}/sshd_config", _SSHD)
    machine.write(f"{_HOME}/authorized_keys", "")
    machine.write(f"{_HOME}/read", _READ, 0o755)
    # Root owns and pushes to the repositories, and git reads them.
    machine.write(f"{_HOME}/.gitconfig", "[safe]\n\tdirectory = *\n")
    machine.write(f"/etc/systemd/system/{_UNIT}", _SERVICE)
    machine.write("/etc/hosts", f"{machine.read('/etc/hosts')}{_ADDRESS} {NAME}\n")
    # Its shell runs the command of a key. The password is invalid, while "!" would disable keys too.
    machine.run("useradd", "--system", "--home-dir", _HOME, "--shell", "/bin/sh", "--password", "*", "git")
    machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", f"{_HOME}/host_key")
    machine.run("systemctl", "enable", "--now", _UNIT)
