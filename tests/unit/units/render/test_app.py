"""The files of an app: users, sandboxes, and the links between sockets and services."""

import ast
from pathlib import Path
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.tables.service import Service
from tests.support.processes import PROJECT
from tests.support.rendered import (
    ADOPTED,
    APPS,
    AT_HOME,
    BLOG,
    HOST,
    NEW_HOST,
    SHOP,
    Unit,
    files,
    make_entry,
    unit,
    unit_files,
)
from units.apps.changes import enabled_units, units_of
from units.changes.change import File
from units.render.app import app_files
from units.system.errors import Refused

SERVICES = [(SHOP, "shop-blue"), (SHOP, "shop-green"), (BLOG, "blog"), (AT_HOME, "mine")]
HIDDEN = "-/run/hookd -/run/hookd-apps -/run/dbus -/run/php -/run/fcgiwrap.socket -/run/uwsgi".split()
every_service = pytest.mark.parametrize(("app", "name"), SERVICES, ids=[name for _, name in SERVICES])


def service(app: App, name: str) -> Unit:
    return unit(HOST, f"{name}.service", app)


def graceful_seconds() -> int:
    """Return the graceful timeout of hookd's program in the app's process."""
    return int(constant("program", "GRACEFUL_TIMEOUT"))


def constant(module: str, name: str) -> Any:
    """Return a constant of the program that runs in the app's own environment."""
    tree = ast.parse((PROJECT / "units" / "in_app" / "hookd_app" / f"{module}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} names no {name}")


def test_program_has_the_defaults() -> None:
    fields = Service.model_fields
    assert constant("workers", "DEFAULTS") == {
        name: fields[name].default for name in ("worker_class", "workers", "threads")
    }


def test_units_follow_the_handover() -> None:
    names = {app.name: sorted(path.name for path in unit_files(HOST, app)) for app in APPS}
    assert names == {
        "shop": sorted([
            "shop.socket", "shop.service", "shop-blue.service", "shop-green.service",
            "shop-blue-health.socket", "shop-green-health.socket",
        ]),
        "blog": ["blog.service", "blog.socket"],
        "old": ["hookd.conf", "old.socket"],
        "wiki": [],
        "mine": ["mine.service", "mine.socket"],
        "ledger": ["ledger.service", "ledger.socket"],
    }  # fmt: skip


@every_service
def test_app_writes_only_its_data(app: App, name: str) -> None:
    found = service(app, name)
    assert found["User"] == ["www-data"]
    assert found["ProtectSystem"] == ["strict"]
    assert found.get("ReadWritePaths", []) == [f"-/var/lib/{app.name}/{one}" for one in app.shared.directories]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]


@pytest.mark.threat(73)
@every_service
def test_neighbours_are_out_of_reach(app: App, name: str) -> None:
    found = service(app, name)
    assert set(found["InaccessiblePaths"][0].split()) == set(HIDDEN)
    assert found["TemporaryFileSystem"] == ["/dev/shm:mode=1777,size=50%"]
    assert found["AppArmorProfile"] == [f"-hookd-app-{app.name}"]
    # systemd 257 takes some of its processes for foreign ones, and kills them at a stop with their requests.
    assert "PrivatePIDs" not in unit(NEW_HOST, f"{name}.service", app)


@pytest.mark.threat(86)
@pytest.mark.parametrize(
    ("service_table", "memory", "tasks"),
    [
        ({}, "75%", "1024"),
        ({"memory_max": "512M", "tasks_max": 64}, "512M", "64"),
        ({"workers": 64, "threads": 256}, "75%", "33024"),
    ],
)
def test_limits_of_service_and_phases(service_table: dict[str, object], memory: str, tasks: str) -> None:
    app = make_entry("blog", {"units": "hookd", **service_table}, "unix:/run/hookd-apps/blog.sock:/")
    for name in ("blog.service", "blog-check.service"):
        found = unit(HOST, name, app)
        assert (found["MemoryMax"], found["TasksMax"]) == ([memory], [tasks])
    # A phase that had too much memory fails. Of a service only the process ends, and gunicorn replaces it.
    assert unit(HOST, "blog.service", app)["OOMPolicy"] == ["continue"]
    assert "OOMPolicy" not in unit(HOST, "blog-check.service", app)


@every_service
def test_sandbox_allows_ordinary_apps(app: App, name: str) -> None:
    found = service(app, name)
    # Databases and mail; copies of setgid directories; wheels that compile at run time; psutil.
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} <= set(found["RestrictAddressFamilies"][0].split())
    assert not {"RestrictSUIDSGID", "MemoryDenyWriteExecute", "ProcSubset", "PrivateNetwork", "IPAddressDeny"} & set(
        found
    )
    # www-data is shared with other services, whose shared memory this would remove.
    assert "RemoveIPC" not in found


@pytest.mark.threat(29)
@every_service
def test_restarts_have_no_limit(app: App, name: str) -> None:
    found = service(app, name)
    assert found["StartLimitIntervalSec"] == ["0"]
    # Not on-failure: a gunicorn that anybody asks to end ends with status 0.
    assert found["Restart"] == ["always"]
    assert unit(HOST, f"{app.name}.socket", app)["StartLimitIntervalSec"] == ["0"]


@every_service
def test_stop_waits_longer_than_gunicorn(app: App, name: str) -> None:
    found = service(app, name)
    assert found["KillMode"] == ["mixed"]
    assert int(found["TimeoutStopSec"][0]) >= graceful_seconds() + 5
    assert found["Type"] == ["notify"]


@every_service
def test_gunicorn_comes_from_the_release(app: App, name: str) -> None:
    found = service(app, name)
    home = f"{app.root}/{name.removeprefix('shop-') if app is SHOP else 'current'}"
    assert found["WorkingDirectory"] == [home]
    assert found["ExecStart"] == [
        f"/bin/sh /opt/hookd/current/code/units/in_release.sh {home}/venv/bin/python"
        ' /opt/hookd/current/code/units/in_app "wsgi:app"'
    ]
    assert "ExecReload" not in found


def make_blog(**service_table: object) -> App:
    return make_entry("blog", {"units": "hookd", **service_table}, "unix:/run/hookd-apps/blog.sock:/")


def test_only_chosen_numbers_reach_gunicorn() -> None:
    """Other numbers are those of the app's own gunicorn.conf.py."""
    found = service(make_blog(threads=1, worker_class="sync"), "blog")
    assert '/in_app --worker-class sync --threads 1 "wsgi:app"' in found["ExecStart"][0]


def test_entry_is_quoted_for_systemd() -> None:
    found = service(make_blog(entry="shop:make('%n $HOME', x={'a': \"b\"})"), "blog")
    assert found["ExecStart"][0].endswith(""" "shop:make('%%n $$HOME', x={'a': \\"b\\"})\"""")


def test_directory_reaches_each_command() -> None:
    for name in ("blog.service", "blog-check.service"):
        found = unit(HOST, name, make_blog(directory="back end"))
        assert '"HOOKD_DIRECTORY=back end"' in found["Environment"]
        assert "in_release.sh" in found["ExecStart"][0]


def test_own_command_listens_itself() -> None:
    app = make_blog(command=["serve", "--on", "$5"], listen="127.0.0.1:5000")
    found = service(app, "blog")
    assert found["ExecStart"] == ['/bin/sh /opt/hookd/current/code/units/in_release.sh "serve" "--on" "$$5"']
    assert found["Type"] == ["exec"]
    assert {"HOST=127.0.0.1", "PORT=5000"} <= set(found["Environment"])
    assert not [line for line in found["Environment"] if "HOOKD_HEALTH" in line]
    assert "Requires" not in found
    assert "blog.socket" not in {path.name for path in unit_files(HOST, app)}
    assert units_of(app) == enabled_units(app) == ("blog.service",)


def test_own_command_is_given_a_socket() -> None:
    app = make_blog(command=["serve"])
    assert service(app, "blog")["Requires"] == ["blog.socket"]
    assert units_of(app) == ("blog.socket", "blog.service")


@every_service
def test_variables_come_from_environment_file(app: App, name: str) -> None:
    wanted = [f"/etc/hookd/env/{app.name}"] if app.service.environment_file else []
    assert service(app, name).get("EnvironmentFile", []) == wanted


def test_health_variables_follow_the_file() -> None:
    health = {"url": "unix:/run/x/{colour}.sock:/up?of={colour}", "status": 204, "host": "a.example", "deadline": 6}
    app = App.model_validate({**SHOP.model_dump(), "health": health})
    assert service(app, "shop-blue")["Environment"][:5] == [
        '"HOOKD_HEALTH_PATH=/up?of=blue"',
        '"HOOKD_HEALTH_STATUS=204"',
        '"HOOKD_HEALTH_HOST=a.example"',
        '"HOOKD_HEALTH_SECONDS=4"',
        '"HOOKD_HEALTH_SOCKET=/run/x/blue.sock"',
    ]


@pytest.mark.parametrize(("deadline", "seconds"), [(0.5, 1), (30, 20), (600, 25)])
def test_health_check_ends_before_gunicorns_limit(deadline: float, seconds: int) -> None:
    app = BLOG.model_copy(update={"health": BLOG.health.model_copy(update={"deadline": deadline})})
    assert f'"HOOKD_HEALTH_SECONDS={seconds}"' in service(app, "blog")["Environment"]


def test_colours_share_only_the_public_socket() -> None:
    for colour in ("blue", "green"):
        found = service(SHOP, f"shop-{colour}")
        assert found["Sockets"] == found["Requires"] == [f"shop.socket shop-{colour}-health.socket"]
        assert found["PartOf"] == ["shop.service"]
        # The parent unit starts the colour that serves, at its own start: else both would run after a reboot.
        assert "WantedBy" not in found
        health = unit(HOST, f"shop-{colour}-health.socket", SHOP)
        assert health["ListenStream"] == [f"/run/hookd-apps/shop-{colour}.sock"]
        assert (health["SocketUser"], health["SocketMode"]) == (["manager"], ["0600"])
        # systemd refuses to open a socket whose Service= runs, so this cannot be the parent unit ...
        assert health["Service"] == [f"shop-{colour}.service"]
        # ... and without this a question that nobody answered would start a bad release again after it was stopped.
        assert health["FlushPending"] == ["yes"]
        assert health["PartOf"] == ["shop.socket"]


@pytest.mark.parametrize(
    ("app", "public"), [(SHOP, "shop"), (BLOG, "blog"), (ADOPTED, "old")], ids=lambda x: str(x)[:4]
)
def test_public_socket_outlives_the_service(app: App, public: str) -> None:
    """Each of these settings would close it after a failure or at a deployment."""
    found = unit(HOST, f"{public}.socket", app)
    assert not {"StopPropagatedFrom", "PartOf", "BindsTo", "Requires", "FlushPending"} & set(found)
    assert found["Service"] == [f"{public}.service"]
    assert found["WantedBy"] == ["sockets.target"]


@every_service
def test_closed_socket_stops_the_service(app: App, name: str) -> None:
    assert f"{app.name}.socket" in service(app, name)["Requires"][0].split()
    assert f"{app.name}.socket" in service(app, name)["After"][0].split()


@pytest.mark.threat(73)
def test_only_nginx_reaches_the_socket() -> None:
    found = unit(HOST, "shop.socket", SHOP)
    assert found["ListenStream"] == ["/run/hookd-apps/shop.sock"]
    assert (found["SocketUser"], found["SocketGroup"], found["SocketMode"]) == (["www-data"], ["manager"], ["0660"])
    assert "SocketMode" not in unit(HOST, "mine.socket", AT_HOME)


def test_parent_unit_starts_the_serving_colour() -> None:
    parent = service(SHOP, "shop")
    assert parent["ExecStart"] == ["/opt/hookd/current/venv/bin/python -P -m worker.boot shop"]
    assert (parent["Type"], parent["RemainAfterExit"]) == (["oneshot"], ["yes"])
    assert parent["User"] == ["manager"]
    assert parent["Restart"] == ["on-failure"]
    assert parent["StartLimitIntervalSec"] == ["0"]
    assert parent["Requires"] == ["shop.socket"]
    assert parent["WantedBy"] == ["multi-user.target"]
    assert parent["ReadWritePaths"] == ["/var/lib/hookd -/srv/shop"]


def test_circus_apps_get_no_units() -> None:
    app = make_entry("shop", {"manager": "circus", "endpoint": "ipc:///run/c", "units": "hookd"}, "http://127.0.0.1:1/")
    assert not unit_files(HOST, app)
    assert not [path for path in files(HOST, app) if path.parent.name == "sudoers.d"]


def test_app_in_home_reads_its_code() -> None:
    assert service(AT_HOME, "mine")["ProtectHome"] == ["read-only"]
    assert service(BLOG, "blog")["ProtectHome"] == ["yes"]


def test_only_group_policy_sets_group() -> None:
    assert service(BLOG, "blog")["Group"] == ["www-data"]
    assert "Group" not in service(AT_HOME, "mine")


def test_shared_health_address_is_refused() -> None:
    app = make_entry("shop", {"units": "hookd", "handover": "blue-green"}, "http://127.0.0.1:8000/{colour}")
    with pytest.raises(Refused, match=r"health\.url"):
        app_files(app, HOST)


def test_logs_rotate_as_the_app() -> None:
    text = files(HOST, SHOP)[Path("/etc/logrotate.d/hookd-shop")].text
    assert '"/var/lib/shop/logs/*.log" {' in text
    assert "    su www-data www-data\n" in text
    assert not [path for path in files(HOST, AT_HOME) if path == Path("/etc/logrotate.d/hookd-mine")]


@pytest.mark.threat(35, 69)
@pytest.mark.parametrize("policy", ["group", "split", "acl"])
def test_own_user_owns_logs_and_process(policy: str) -> None:
    """Keep a group that other apps are in away from the logs, under each policy."""
    own = make_entry("blog", {"units": "hookd"}, "unix:/b.sock:/", ownership={"user": "blog", "policy": policy})
    assert "    su blog blog\n" in files(HOST, own)[Path("/etc/logrotate.d/hookd-blog")].text
    found = service(own, "blog")
    assert found["User"] == ["blog"]
    assert found.get("Group", ["blog"]) == ["blog"]


def test_site_leads_to_the_public_socket() -> None:
    shop, old = (files(HOST, app)[Path(f"/etc/nginx/sites-available/hookd-{app.name}")] for app in (SHOP, ADOPTED))
    assert isinstance(shop, File)
    assert "        proxy_pass http://unix:/run/hookd-apps/shop.sock;\n" in shop.text
    assert "        proxy_pass http://127.0.0.1:8000;\n" in old.text
    assert "    client_max_body_size 10m;\n" in shop.text
