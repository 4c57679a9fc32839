"""fail2ban, AppArmor and SELinux accept their files."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from hookd import eventlog
from tests.support.programs import program, run
from tests.support.receiver import LocalReceiver, push_body, run_receiver
from tests.support.rendered import APPS, HOST, NEW_HOST, files
from tests.support.signatures import headers_of

AT = "2026-11-23T12:00:00.000000+00:00 server hookd[193]: "


def rendered(tmp_path: Path, path: str) -> Path:
    file = tmp_path / Path(path).name
    file.write_text(files(HOST, *APPS)[Path(path)].text)
    return file


@pytest.mark.threat(22)
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_visudo_accepts_each_apps_file(app: object, tmp_path: Path) -> None:
    visudo = program("visudo", "sudo")
    [file] = [file for path, file in files(HOST, app).items() if path.parent.name == "sudoers.d"]  # type: ignore[arg-type]
    path = tmp_path / file.path.name
    path.write_text(file.text)
    path.chmod(file.mode)
    done = run(visudo, "-c", "-f", str(path))
    assert done.returncode == 0, done.stdout
    path.chmod(0o640)
    path.write_text(file.text.replace("NOPASSWD:", "NOPASSWD"))
    assert run(visudo, "-c", "-f", str(path)).returncode != 0


@pytest.mark.parametrize(
    ("name", "line"), [("hookd-receiver", "/run/systemd/notify w,"), ("hookd-apps", "signal (receive),")]
)
def test_apparmor_compiles_the_profiles(tmp_path: Path, name: str, line: str) -> None:
    parser = program("apparmor_parser", "apparmor")
    profile = rendered(tmp_path, f"/etc/apparmor.d/{name}")
    argv = (parser, "--skip-kernel-load", "--skip-cache", "--base=/etc/apparmor.d", str(profile))
    done = run(*argv)
    assert done.returncode == 0, done.stdout
    profile.write_text(profile.read_text().replace(line, line[:-1]))
    assert run(*argv).returncode != 0


def test_apparmor_lists_the_apps_profiles(tmp_path: Path) -> None:
    """Each app's unit names one of them, and no profile is left for a server without apps."""
    parser = program("apparmor_parser", "apparmor")
    done = run(parser, "--names", "--base=/etc/apparmor.d", str(rendered(tmp_path, "/etc/apparmor.d/hookd-apps")))
    # A kernel without AppArmor adds a warning.
    listed = re.findall(r"^hookd-app-\S+$", done.stdout, re.MULTILINE)
    assert listed == sorted(f"hookd-app-{app.name}" for app in APPS)
    units = [file.text for file in files(HOST, *APPS).values() if "AppArmorProfile=-hookd-app" in file.text]
    assert {name for text in units for name in re.findall(r"AppArmorProfile=-(\S+)", text)} <= set(listed)
    assert "profile" not in files(HOST)[Path("/etc/apparmor.d/hookd-apps")].text.partition("\nabi ")[2]


@pytest.fixture(scope="module")
def selinux_lines() -> list[str]:
    text = files(HOST, *APPS)[Path("/etc/hookd/selinux.fcontext")].text
    return [line for line in text.splitlines() if line.startswith("fcontext")]


# semanage's own reader of such lines, without the part that would change the host.
_SEMANAGE = """
import importlib.machinery, importlib.util, sys
loader = importlib.machinery.SourceFileLoader("semanage", sys.argv[1])
semanage = importlib.util.module_from_spec(importlib.util.spec_from_loader("semanage", loader))
loader.exec_module(semanage)
for line in sys.stdin:
    args = semanage.createCommandParser().parse_args(semanage.mkargv(line))
    print(args.action, args.type, args.ftype, args.file_spec, sep="\\t")
"""


def test_semanage_understands_each_line(selinux_lines: list[str]) -> None:
    semanage = program("semanage", "policycoreutils-python-utils")
    [python] = re.findall(r"^#!\s*(\S+)", Path(semanage).read_text().split("\n", 1)[0])
    done = run(python, "-c", _SEMANAGE, semanage, text="\n".join(selinux_lines) + "\n")
    assert done.returncode == 0, done.stdout
    read = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(read) == len(selinux_lines) > 10
    assert {tuple(fields[:1] + fields[2:3]) for fields in read} == {("add", "a")}
    assert ["add", "httpd_var_run_t", "a", "/run/hookd(/.*)?"] in read
    assert ["add", "httpd_sys_rw_content_t", "a", "/var/lib/shop/uploads(/.*)?"] in read


def test_the_patterns_for_selinux_compile(selinux_lines: list[str], tmp_path: Path) -> None:
    compiler = program("sefcontext_compile", "selinux-utils")
    specs = tmp_path / "file_contexts"
    fields = [re.fullmatch(r"fcontext -a -t (\w+) -f a '(.+)'", line) for line in selinux_lines]
    specs.write_text("".join(f"{found[2]}\tsystem_u:object_r:{found[1]}:s0\n" for found in fields if found))
    assert specs.read_text().count("\n") == len(selinux_lines)
    done = run(compiler, "-o", str(tmp_path / "out"), str(specs))
    assert done.returncode == 0, done.stdout
    specs.write_text("/broken(\tsystem_u:object_r:var_t:s0\n")
    assert run(compiler, "-o", str(tmp_path / "out"), str(specs)).returncode != 0


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalReceiver]:
    with run_receiver(tmp_path_factory.mktemp("receiver")) as made:
        yield made


class InJournal(eventlog.JsonFormatter):
    """Return a line of the journal, with time and program."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{AT}{super().format(record)}"


@contextmanager
def journal(file: Path) -> Iterator[None]:
    """Write the receiver's log as the journal passes it to fail2ban."""
    handler = logging.FileHandler(file)
    handler.setFormatter(InJournal())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def found_by_fail2ban(log: Path, tmp_path: Path) -> list[str]:
    """Return the addresses that the filter finds in a log."""
    regex = program("fail2ban-regex", "fail2ban")
    filter_file = rendered(tmp_path, "/etc/fail2ban/filter.d/hookd.conf")
    done = run(regex, "--out", "id", str(log), str(filter_file))
    assert "ERROR" not in done.stdout, done.stdout
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def test_fail2ban_finds_wrong_signatures(receiver: LocalReceiver, tmp_path: Path) -> None:
    log = tmp_path / "journal"
    body = push_body("gitea")
    wrong = headers_of("gitea", body, secret="not the secret at all")
    client = receiver.app.test_client()
    with journal(log):
        for app, address in (("gitea", "192.0.2.7"), ("nobody", "2001:db8::1")):
            client.post(f"/hooks/{app}", data=body, headers=wrong, environ_base={"REMOTE_ADDR": address})
        # From nginx, on a unix socket: there is no peer, and nginx says who it was.
        via_nginx = {**wrong, "X-Forwarded-For": "198.51.100.9"}
        client.post("/hooks/gitea", data=body, headers=via_nginx, environ_base={"REMOTE_ADDR": ""})
    assert found_by_fail2ban(log, tmp_path) == ["192.0.2.7", "2001:db8::1", "198.51.100.9"]


def refused(address: str, **over: str) -> str:
    """Return the receiver's line about a wrong signature, with changed or additional fields."""
    fields = {
        "at": "2026-11-23T12:00:00.000+00:00",
        "level": "warning",
        "logger": "hookd.receiver.app",
        "event": "refused signature",
        "app": "gitea",
        "client": address,
        "check": "wrong signature",
    }
    return json.dumps({**fields, **over})


LINE = refused("203.0.113.5")
FORGED = [
    f"{AT.replace('hookd[193]', 'evil[7]')}{LINE}",
    f"{AT}{LINE} and more",
    f"{AT}x {LINE}",
    *(f"{AT}{refused('203.0.113.6', **{key: value})}" for key, value in (
        ("client", "-"), ("level", "info"), ("logger", "gunicorn.error"), ("event", "push"), ("event", f"x {LINE}"),
        ("app", LINE), ("client", f"203.0.113.5 {LINE}"), ("check", LINE), ("more", LINE),
    )),
    f"{AT}{json.dumps({'at': LINE, **json.loads(LINE), 'event': 'message', 'text': LINE})}",
    f"{AT}WARNING hookd.receiver.app refused signature app=gitea client=203.0.113.5 check=\"wrong signature\"",
]  # fmt: skip


def test_fail2ban_ignores_similar_lines(tmp_path: Path) -> None:
    log = tmp_path / "journal"
    log.write_text("\n".join([*FORGED, f"{AT}{refused('192.0.2.8')}", ""]))
    assert found_by_fail2ban(log, tmp_path) == ["192.0.2.8"]


@pytest.mark.threat(9)
@pytest.mark.parametrize("forged", [LINE, f"\n{AT}{LINE}", f'", "client": "203.0.113.5", "check": "no"}}\r{AT}{LINE}'])
def test_clients_cannot_forge_the_line(receiver: LocalReceiver, forged: str, tmp_path: Path) -> None:
    log = tmp_path / "journal"
    in_header = quote(forged)
    with journal(log):
        assert receiver.push("gitea").status_code in (200, 202)
        receiver.push("gitea", event=in_header)
        receiver.push("gitea", push_body("gitea", ref=forged, repository={"full_name": forged}))
        receiver.push("gitea", push_body("gitea", ref=[forged]))
        for header in ("X-Forwarded-For", "User-Agent", "X-Gitea-Delivery"):
            body = push_body("gitea")
            headers = {**headers_of("gitea", body, secret="not the secret at all"), header: in_header}
            client = receiver.app.test_client()
            client.post(f"/hooks/{quote(forged)}", data=body, headers=headers, environ_base={"REMOTE_ADDR": ""})
    assert log.read_text().count("\n") == 7
    assert found_by_fail2ban(log, tmp_path) == []


def test_fail2ban_takes_the_jail(tmp_path: Path) -> None:
    client = program("fail2ban-client", "fail2ban")
    config = tmp_path / "fail2ban"
    run("cp", "-r", "/etc/fail2ban", str(config))
    for path, file in files(HOST).items():
        if path.is_relative_to("/etc/fail2ban"):
            (config / path.relative_to("/etc/fail2ban")).write_text(file.text)
    done = run(client, "-c", str(config), "--dp")
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if "'hookd'" in line]
    assert ["add", "hookd", "systemd"] in [re.findall(r"'([^']*)'", line) for line in lines]
    assert any("maxretry" in line and "20" in line for line in lines)
    assert any("addjournalmatch" in line and "_SYSTEMD_UNIT=hookd.service" in line for line in lines)
    assert any("banaction" in line or "http,https" in line for line in done.stdout.splitlines())


def test_profile_name_matches_the_unit() -> None:
    profile = files(NEW_HOST)[Path("/etc/apparmor.d/hookd-receiver")].text
    assert "\nprofile hookd-receiver {\n" in profile
    assert "\nAppArmorProfile=-hookd-receiver\n" in files(NEW_HOST)[Path("/etc/systemd/system/hookd.service")].text
