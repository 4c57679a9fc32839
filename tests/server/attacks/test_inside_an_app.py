"""A hostile app attacks nginx and other apps, which may run as www-data too."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop

# A hostile app: each page is an attempt to reach other processes, or to use up what all of them need.
_SPY: Final = '''\
import ctypes, json, multiprocessing, os, resource, signal, socket, time
from multiprocessing.shared_memory import SharedMemory

def tries(do):
    try:
        do()
    except OSError:
        return False
    return True

def connects(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(2)
        one.connect(path)

def own():
    """Return the control group of this app."""
    return open("/proc/self/cgroup").read()

def others():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/cgroup").read() != own():
                yield pid, open(f"/proc/{pid}/comm").read().strip()
        except OSError:
            continue

def reach():
    found = {}
    for pid, name in others():
        place = f"/proc/{pid}"
        found[f"{name} {pid}"] = [what for what, do in {
            "root": lambda: os.listdir(f"{place}/root/"),
            "directory": lambda: os.listdir(f"{place}/cwd/"),
            "memory": lambda: os.close(os.open(f"{place}/mem", os.O_RDWR)),
            "variables": lambda: open(f"{place}/environ").read(),
            "files": lambda: os.listdir(f"{place}/fd"),
            "receiver": lambda: connects(f"{place}/root/run/hookd/receiver.sock"),
        }.items() if tries(do)]
    sockets = ["/run/hookd/receiver.sock", "/run/hookd-redis/redis.sock", "/run/dbus/system_bus_socket"]
    sockets += [f"/run/hookd-apps/{name}.sock" for name in ("blog", "shop", "shop-blue", "shop-green")]
    return {"processes": found, "sockets": [path for path in sockets if tries(lambda: connects(path))]}

def control(pids):
    """Return the ways to control processes by number, which need no look into /proc."""
    libc = ctypes.CDLL(None, use_errno=True)
    return {pid: [way for way, do in {
        "signal": lambda: os.kill(int(pid), 0),
        "limits": lambda: resource.prlimit(int(pid), resource.RLIMIT_NOFILE),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, int(pid), os.getpriority(os.PRIO_PROCESS, int(pid))),
        "cores": lambda: os.sched_setaffinity(int(pid), os.sched_getaffinity(int(pid))),
    }.items() if tries(do)] for pid in pids}

def share():
    """Leave a file in shared memory, and return the files before, and the text that a child could read and lock."""
    before = os.listdir("/dev/shm")
    open("/dev/shm/left-behind", "w").write("canary")
    memory, lock, answer = SharedMemory(create=True, size=10), multiprocessing.Lock(), multiprocessing.Queue()
    def child():
        other = SharedMemory(memory.name)
        with lock:
            answer.put(bytes(other.buf[:5]).decode())
        other.close()
    memory.buf[:5] = b"hello"
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    found = {"child": answer.get(timeout=10), "before": before}
    process.join()
    memory.close()
    memory.unlink()
    return found

def eat():
    """Take memory without end."""
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)))

def fork():
    """Start processes until the limit, and return their number."""
    children = []
    try:
        while len(children) < 5000:
            if (pid := os.fork()) == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(children)

def app(environ, start_response):
    name, _, rest = environ["PATH_INFO"][1:].partition("/")
    pages = {"": reach, "control": lambda: control(rest.split("/")), "share": share, "eat": eat, "fork": fork}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(pages.get(name, str)()).encode()]
'''


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server with two apps, one of them hostile."""
    with servers.start(neighbours_layer(servers, request.param)) as machine:
        wait_for_services(machine)
        shop = Shop(machine)
        assert shop.push("spy", {"wsgi.py": _SPY})["status"] == "succeeded"
        yield shop


@pytest.fixture(scope="module")
def reached(shop: Shop) -> dict[str, Any]:
    """The report of the hostile app."""
    report: dict[str, Any] = json.loads(shop.page())
    return report


@pytest.fixture(scope="module")
def limited(shop: Shop) -> Shop:
    """The same app with low limits, if the kernel of the tests counts for this server."""
    found = shop.machine.read("/sys/fs/cgroup/cgroup.controllers").split()
    if missing := {"memory", "pids"} - set(found):
        pytest.skip(f"this kernel does not limit a server's services: {', '.join(sorted(missing))}")
    shop.hookd("app", "edit", "shop", "--set", "service.memory_max=300M", "--set", "service.tasks_max=100")
    shop.hookd("restart", "shop")
    return shop


def processes(machine: Machine, name: str) -> list[str]:
    """Return the ids of www-data's processes with a name."""
    return machine.run("pgrep", "--exact", "--uid", "www-data", name).stdout.split()


def main_process(machine: Machine, unit: str) -> str:
    return machine.run("systemctl", "show", "-P", "MainPID", unit).stdout.strip()


@pytest.mark.threat(73)
def test_no_socket_is_reached(reached: dict[str, Any]) -> None:
    """Refuse the receiver and other apps, which nginx protects, and systemd, which starts units."""
    assert reached["sockets"] == []


@pytest.mark.threat(25, 73)
def test_other_processes_are_hidden(shop: Shop, reached: dict[str, Any]) -> None:
    """Protect nginx' traffic and TLS keys, and the other app's variables."""
    users = shop.machine.run("ps", "-o", "comm=", "-u", "www-data").stdout.split()
    assert {"nginx", "python"} <= set(users)
    assert {name: ways for name, ways in reached["processes"].items() if ways} == {}


@pytest.mark.threat(73)
def test_shared_memory_is_the_apps_own(shop: Shop) -> None:
    """An app works with shared memory and locks, and no other program of the server sees them."""
    machine = shop.machine
    assert json.loads(shop.page("/share")) == {"child": "hello", "before": []}
    worker, blog = (main_process(machine, unit) for unit in ("hookd-worker@1.service", "blog.service"))
    for place in ("", f"/proc/{worker}/root", f"/proc/{blog}/root"):
        assert "left-behind" not in machine.run("ls", f"{place}/dev/shm").stdout.split()
    assert shop.push("after the memory", {"wsgi.py": _SPY})["status"] == "succeeded"
    assert json.loads(shop.page("/share"))["before"] == [], "a deployment begins without old files"


@pytest.mark.threat(73)
def test_no_other_user_is_controlled(shop: Shop) -> None:
    """Leave only processes of the app's own user, because AppArmor is off on the servers of the tests."""
    machine = shop.machine
    names = ("hookd.service", "hookd-worker@1.service", "hookd-redis.service", "blog.service")
    targets = ["1", *processes(machine, "nginx"), *(main_process(machine, name) for name in names)]
    controlled = json.loads(shop.page(f"/control/{'/'.join(targets)}"))
    same_user = {pid for pid in targets if _owner(machine, pid) == _owner(machine, _serving(shop))}
    assert {pid for pid, ways in controlled.items() if ways} == same_user
    assert main_process(machine, "blog.service") not in same_user


def _owner(machine: Machine, pid: str) -> str:
    return machine.run("stat", "--format=%U", f"/proc/{pid}").stdout


def _serving(shop: Shop) -> str:
    """Return the main process of the colour that serves."""
    found = (main_process(shop.machine, f"shop-{colour}.service") for colour in ("blue", "green"))
    return next(pid for pid in found if pid != "0")


@pytest.mark.threat(86)
def test_memory_bomb_ends_alone(limited: Shop) -> None:
    """Kill the process that had too much, while the app's other process and the other app go on."""
    blog = main_process(limited.machine, "blog.service")
    master = _serving(limited)
    assert limited.page("/eat") == "502"
    limited.machine.wait_until(lambda: limited.page("/healthz") == '""', what="the app's page")
    assert (_serving(limited), main_process(limited.machine, "blog.service")) == (master, blog)
    assert Shop(limited.machine, "blog").page() == "v1"


@pytest.mark.threat(86)
def test_fork_bomb_ends_alone(limited: Shop) -> None:
    assert 20 < int(limited.page("/fork")) < 100
    assert Shop(limited.machine, "blog").page() == "v1"
    assert limited.page("/healthz") == '""'


@pytest.mark.threat(73)
def test_attack_works_without_the_sandbox(shop: Shop) -> None:
    """Prove that the attempts of the tests above are real."""
    machine = shop.machine
    nginx = processes(machine, "nginx")[0]
    release = machine.path("/srv/shop/current/wsgi.py").read_text()
    attempts = f"json.dumps([reach(), control([{nginx!r}]), share()])"
    printed = machine.run("python3", "-c", f"{release}\nprint({attempts})", user="www-data").stdout
    found, controlled, _shared = json.loads(printed)
    machine.run("rm", "/dev/shm/left-behind")
    sockets = {"/run/hookd/receiver.sock", "/run/dbus/system_bus_socket", "/run/hookd-apps/blog.sock"}
    assert sockets <= set(found["sockets"])
    assert any("receiver" in ways for name, ways in found["processes"].items() if name.startswith("nginx"))
    assert controlled == {nginx: ["signal", "limits", "priority", "cores"]}
