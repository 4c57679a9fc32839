"""Real servers for tests: Debian with systemd as its first process, a git host, a Docker Engine.

Fixtures (tests/server/conftest.py): `servers`, and `fresh_server`, a fresh Debian for each module.

    def test_restart(fresh_server: Machine) -> None:
        fresh_server.copy_checkout()                     # with uncommitted changes, without .git -> /root/hookd
        fresh_server.shell("./run install", directory="/root/hookd")
        command = ("sudo", "-n", "/usr/bin/systemctl", "restart", "shop.service")
        assert fresh_server.run(*command, user="manager", check=False).returncode == 0

A layer is a server that is set up once per session. Every module then starts from it in half a second.

    def make_installed(machine: Machine) -> None:        # runs once, on a fresh server
        machine.copy_checkout()
        machine.shell("./run install && hookd setup", directory="/root/hookd")

    @pytest.fixture(scope="module")
    def installed(servers: Servers) -> Iterator[Machine]:
        with servers.start(servers.layer("installed", make_installed)) as machine:
            yield machine

    servers.layer("with-shop", make_shop, on=servers.layer("installed", make_installed))
    servers.start(suite="trixie"), servers.layer("installed-13", make_installed, suite="trixie")   # systemd 257

machine.py   `run` (a user's command, without a terminal), `shell` (lines of a README), `path`, `read`, `write`,
             `files`, `unit_state`, `journal`, `wait_until`, `reboot`, `power_cut`, `stop`, `socket`, and `settings`:
             proxies, indexes, certificates. `run` and `shell` give them to each command, as a login would. A
             unit has them only if the product reads them (such as from /etc/hookd/worker.env).
web.py       `ask(machine, "shop.example.org", "/")`: one request to port 80, or to `port=`, of a machine or an engine.
             `push(machine, "deploy.example.org", "shop", secret, after=commit)`: a signed push through nginx.
visitors.py  `with visitors(machine, "shop.example.org", per_second=100) as crowd:`, then `crowd.failures`,
             `crowd.pages`, `crowd.slowest`.
sshgit.py    `host = git_host(machine)`, `shop = host.repository("acme/shop")`, `shop.commit_and_push({"a.py": "1"})`,
             `shop.url` (git@git.example.org:acme/shop.git), `host.allow_reading(public_key, "acme/shop")`,
             `host.known_hosts`. A layer keeps both. In a machine on it, call both again.
engine.py    `with docker_engine((DEBIAN, PYTHON_AND_REDIS)) as engine:`, then
             `engine.compose(project, "up", "-d", "--wait")` and `ask(engine, "localhost", "/", port=8787)`.

Each machine, and each engine, has a network of its own and a way out to package indexes: several may listen on port 80
at once, and a test reaches them through their `socket` alone. Control groups are version 2. Limits on memory, processor
and number of processes hold only if the host does not use these controllers in version 1 (an engine then ignores
`mem_limit` with a warning, and refuses `cpus`).

The changes of a machine, and the engine's data, are in memory if the host has 6 GB left. Layers are on the disk.

Images are kept in HOOKD_TEST_CACHE, or $XDG_CACHE_HOME/hookd-tests, or /var/cache/hookd-tests.
"""
