"""Decision of an adoption: the app's file and units, or all blockers at once."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from hookd.model.catalogue import Catalogue
from units.adopt.decide import decide
from units.adopt.describe import describe_adoption
from units.adopt.discover import AdoptOptions, ProjectFacts
from units.adopt.discovery.checkout import Checkout
from units.adopt.discovery.gunicorn_options import GunicornOptions
from units.adopt.discovery.nginx_sites import NginxSite
from units.adopt.discovery.service import OldService, ServiceUser
from units.adopt.discovery.untracked import UntrackedPath
from units.adopt.prepare import first_changes, interim_files, public_socket_files, trial_files
from units.adopt.state import Adoption
from units.apps.changes import app_toml
from units.changes.accounts import User
from units.changes.change import File
from units.changes.manifest import Manifest
from units.render.app import app_files
from units.system.errors import Refused
from units.system.facts import Host

HOST = Host(252, Path("/usr/bin/redis-server"), 2000, True, False, False, False)
UNIT = "[Service]\nExecStart=/opt/shop/venv/bin/gunicorn wsgi:app\n"


@pytest.fixture
def facts(tmp_path: Path) -> ProjectFacts:
    """A project without blockers."""
    for name in ("uploads", ".git"):
        (tmp_path / name).mkdir()
    fragment = Path("/etc/systemd/system/shop.service")
    checkout = Checkout(
        root=tmp_path,
        url="git@git.example.org:acme/shop.git",
        branch="main",
        commit="ab" * 20,
        tracked=("wsgi.py", "requirements.txt", "uploads/.gitkeep"),
        changed=(),
        untracked=(),
        unpushed=0,
    )
    service = OldService(
        name="shop.service",
        fragment=fragment,
        drop_ins=(),
        argv=(),
        hooks=("ExecStartPre=/bin/true",),
        directory=tmp_path,
        environment=("COLOUR=red",),
        files=(),
        process=1,
        is_unsupported=False,
    )
    return ProjectFacts(
        options=AdoptOptions(root=tmp_path, name="shop"),
        checkout=checkout,
        service=service,
        others=("shop-mail.service",),
        mentions=(Path("/etc/cron.d/shop"),),
        user=ServiceUser("www-data", 33, frozenset({33})),
        user_problems=(),
        gunicorn=GunicornOptions("wsgi:app", 3, 1, "", ("--timeout=45",), ("graceful_timeout=120",)),
        listeners=("127.0.0.1:8000",),
        texts={fragment: UNIT},
        variables={},
        sites=(NginxSite(Path("/etc/nginx/shop"), "old;", "new;", ("shop.example.org",), True, ()),),
        untracked=(
            UntrackedPath(".env", "file", ""),
            UntrackedPath("uploads", "data", ""),
            UntrackedPath("venv", "left", ""),
        ),
        page="/healthz",
        host="localhost",
        is_reachable=True,
        mode=0o40755,
        python=None,
    )


def decided(facts: ProjectFacts) -> Adoption:
    return decide(facts, Catalogue(), Manifest(Path("/nowhere")))


def refusal(facts: ProjectFacts) -> list[str]:
    with pytest.raises(Refused) as refused:
        decided(facts)
    return refused.value.reasons


def texts(files: tuple[object, ...]) -> dict[str, str]:
    return {file.path.name: file.text for file in files if isinstance(file, File)}


def test_app_file_keeps_old_settings(facts: ProjectFacts) -> None:
    adoption = decided(facts)
    root = str(facts.checkout.root)
    table = tomllib.loads(app_toml("shop", adoption.table))
    assert table["root"] == table["shared"]["root"] == table["shared"]["data"] == root
    assert (table["shared"]["files"], table["shared"]["directories"]) == ([".env"], ["uploads"])
    assert table["service"]["workers"] == 3
    assert table["health"]["url"] == "unix:/run/hookd-apps/shop.sock:/healthz"
    assert adoption.app.service.units == "existing"
    assert adoption.app.dependencies.allow_build
    assert 'GUNICORN_CMD_ARGS="--timeout=45"\n' in adoption.environment
    assert 'COLOUR="red"\n' in adoption.environment


def test_adoption_survives_json(facts: ProjectFacts) -> None:
    adoption = decided(facts)
    assert Adoption.model_validate_json(adoption.model_dump_json()) == adoption


def test_interim_unit_copies_the_unit(facts: ProjectFacts) -> None:
    drop_in = Path("/etc/systemd/system/shop.service.d/limits.conf")
    more = {**facts.texts, drop_in: "[Service]\nLimitNOFILE=9999\n"}
    service = replace(facts.service, drop_ins=(drop_in,))
    adoption = decided(replace(facts, texts=more, service=service))
    closed = interim_files(adoption, HOST, is_public=False)
    names = [str(file.path).removeprefix("/etc/systemd/system/") for file in closed if "systemd" in str(file.path)]
    order = sorted(name for name in names if name.startswith("shop-interim.service.d/"))
    assert order == [f"shop-interim.service.d/{one}" for one in ("01-limits.conf", "hookd.conf", "zz-hookd-adopt.conf")]
    assert texts(closed)["shop-interim.service"] == UNIT
    assert {file.mode for file in closed if isinstance(file, File) and "01-limits" in file.path.name} == {0o600}
    assert "Sockets=shop.socket" not in "".join(texts(closed).values())
    opened = interim_files(adoption, HOST, is_public=True)
    assert "Sockets=shop.socket" in texts(opened)["zz-hookd-adopt.conf"]
    assert "restart shop-interim.service" in texts(closed)["hookd-shop"]
    assert "Service=shop-interim.service" in texts(public_socket_files(adoption, HOST))["zz-hookd-adopt.conf"]


def test_final_files_omit_interim_unit(facts: ProjectFacts) -> None:
    stays = app_files(decided(facts).app, HOST)
    assert "-interim" not in "".join(texts(stays).values())
    assert {"shop.socket", "hookd.conf", "hookd-shop"} <= set(texts(stays))
    assert "EnvironmentFile=\n" in texts(stays)["hookd.conf"]
    assert "Sockets=shop-trial.socket" in texts(trial_files(decided(facts)))["zz-hookd-adopt.conf"]


def test_existing_socket_stays(facts: ProjectFacts) -> None:
    held = replace(
        facts,
        service=replace(facts.service, sockets=("shop.socket",)),
        listeners=("unix:/run/shop.sock",),
        sites=(replace(facts.sites[0], after="old;"),),
    )
    adoption = decided(held)
    assert adoption.app.service.own_socket
    assert adoption.app.service.listen is None
    assert adoption.table["health"]["url"] == "unix:/run/shop.sock:/healthz"
    assert adoption.changes == ()
    assert public_socket_files(adoption, HOST) == ()
    stays = texts(app_files(adoption.app, HOST))
    assert "hookd.conf" in stays
    assert "shop.socket" not in stays


def test_working_directory_is_kept(facts: ProjectFacts) -> None:
    root = facts.checkout.root
    deeper = replace(
        facts, service=replace(facts.service, directory=root / "src"), variables={"PYTHONPATH": f"{root}/lib"}
    )
    assert 'GUNICORN_CMD_ARGS="--timeout=45 --chdir=src --pythonpath=lib"\n' in decided(deeper).environment


def test_other_group_gets_split_policy(facts: ProjectFacts) -> None:
    other = replace(facts, user=ServiceUser("nobody", 65534, frozenset({65534})))
    adoption = decided(other)
    assert [step for step in first_changes(adoption, HOST) if "member of nogroup" in str(step)]
    users = [step.name for step in first_changes(decided(facts), HOST) if isinstance(step, User)]
    assert users == ["hookd-build-shop"]
    assert adoption.app.ownership.policy == "split"
    assert adoption.app.ownership.user == "nobody"


def test_all_blockers_are_reported(facts: ProjectFacts) -> None:
    bad = replace(
        facts,
        checkout=replace(
            facts.checkout, url="", branch=None, changed=("wsgi.py",), unpushed=2, tracked=("current/x", "venv/y")
        ),
        service=replace(facts.service, name="shop@1.service"),
        sites=(),
        user=ServiceUser("root", 0, frozenset({0})),
        untracked=(UntrackedPath("db.sqlite3", "unclear", "a database"),),
        page=None,
        is_reachable=False,
    )
    said = "\n".join(refusal(bad))
    for word in (
        "no remote", "no branch", "wsgi.py", "2 commits", "current, venv", "does not run as root", "template",
        "no nginx site", "db.sqlite3", "--health", "cannot reach",
    ):  # fmt: skip
        assert word in said


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("url", "holds a password"),
        ("asgi", "ASGI"),
        ("override", "after hookd's drop-in"),
        ("unknown", "hookd cannot change"),
        ("nowhere", "listens on no address"),
        ("data", "holds files of the commit"),
        ("inside", "lies in the project"),
        ("pattern", "a pattern"),
        ("link", "is a link"),
        ("gone", "unreadable"),
        ("misread", '.env line 2: `export` is not understood, write KEY="..."\n    next: '),
        ("no text", ".env is not UTF-8 text"),
        ("name", "invalid app name 'My.Shop'"),
        ("socket", "hookd needs shop.socket with one address"),
    ],
)
def test_each_blocker_has_a_reason(facts: ProjectFacts, name: str, reason: str) -> None:
    override = Path("/etc/systemd/system/shop.service.d/override.conf")
    inside = facts.checkout.root / "shop.service"
    changes: dict[str, ProjectFacts] = {
        "url": replace(facts, checkout=replace(facts.checkout, url="https://me:token@git.example.org/acme/shop.git")),
        "asgi": replace(
            facts, gunicorn=replace(facts.gunicorn, arguments=("--worker-class=uvicorn.workers.UvicornWorker",))
        ),
        "override": replace(
            facts,
            service=replace(facts.service, drop_ins=(override,)),
            texts={**facts.texts, override: "[Service]\nExecStart=\nExecStart=/x\n"},
        ),
        "unknown": replace(
            facts, sites=(*facts.sites, NginxSite(Path("/x"), "", "", (), False, ("http://127.0.0.1:8000",)))
        ),
        "nowhere": replace(facts, listeners=()),
        "inside": replace(facts, service=replace(facts.service, fragment=inside), texts={inside: UNIT}),
        "name": replace(facts, options=replace(facts.options, name="My.Shop")),
        "gone": replace(facts, texts={}),
        "misread": with_variables(facts, "COLOUR=red\nexport KEY=token\n"),
        "no text": with_variables(facts, "# caf\ufffd\n"),
        "socket": replace(facts, service=replace(facts.service, sockets=("other.socket",))),
        "pattern": replace(facts, service=replace(facts.service, files=(Path("/etc/shop/*.env"),))),
        "link": replace(facts, service=replace(facts.service, files=(facts.checkout.root / "uploads",))),
        "data": replace(
            facts,
            options=replace(facts.options, choices={"uploads": "data"}),
            checkout=replace(facts.checkout, tracked=("uploads/logo.png",)),
        ),
    }
    [said] = refusal(changes[name])
    assert reason in said
    assert "token" not in said


def with_variables(facts: ProjectFacts, text: str) -> ProjectFacts:
    """Return the facts of a unit with a file of variables."""
    path = facts.checkout.root / ".env"
    path.write_text(text)
    return replace(facts, service=replace(facts.service, files=(path,)), texts={**facts.texts, path: text})


def test_leave_changes_is_allowed(facts: ProjectFacts) -> None:
    changed = replace(facts, checkout=replace(facts.checkout, changed=("wsgi.py",)))
    adoption = decided(replace(changed, options=replace(changed.options, leave_changes=True)))
    assert "NOT in the release: wsgi.py" in "\n".join(describe_adoption(changed, adoption, ()))


def test_plan_describes_changes(facts: ProjectFacts) -> None:
    text = "\n".join(describe_adoption(facts, decided(facts), ["+ file       /etc/x"]))
    for word in (
        "first release  abababababab", "no request fails", "NOT adopted: graceful_timeout=120",
        "no longer run: ExecStartPre=/bin/true", "shop-mail.service keep the OLD code", "/etc/cron.d/shop mention",
        "+ file       /etc/x", "-old;", "+new;",
    ):  # fmt: skip
        assert word in text
