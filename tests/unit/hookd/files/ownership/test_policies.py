"""The attributes of each policy and the text of a mismatch, without a disk."""

import grp
import pwd
import struct
from pathlib import Path

import pytest

from hookd.files.ownership.attributes import FileAttributes, format_acl, readers_acl
from hookd.files.ownership.policies import (
    GROUP_READABLE,
    OWNER_READABLE,
    PRIVATE,
    WORLD_READABLE,
    WRITABLE,
    Acl,
    Modes,
    OwnershipError,
    Policy,
    code_policy,
    environment_policy,
    secret_policy,
    umask_of,
)
from hookd.files.ownership.repair import AttributeMismatch
from hookd.files.safe_open import Unauditable
from hookd.model.app import App
from hookd.model.settings import Settings
from hookd.model.tables.files import Ownership
from units.apps.permissions import PermissionRule, rules

ME = pwd.getpwuid(0)
GROUP = grp.getgrall()[-1]
WORKER = pwd.struct_passwd(("manager", "x", 990, 991, "", "/", "/bin/false"))


@pytest.fixture(autouse=True)
def builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give builds a user that this machine has."""
    monkeypatch.setattr("units.apps.permissions.build_user", lambda _: ME.pw_name)


def app(policy: str = "group", **over: object) -> App:
    return App.model_validate(
        {
            "name": "shop",
            "repository": "git@example.org:acme/shop.git",
            "full_name": "acme/shop",
            "root": "/srv/shop",
            "health": {"url": "http://127.0.0.1:9/"},
            "ownership": {"policy": policy, "group": GROUP.gr_name, "user": ME.pw_name},
            **over,
        }
    )


def by_path(of: App) -> dict[str, PermissionRule]:
    return {str(rule.path): rule for rule in rules(of, Settings(), WORKER)}


@pytest.mark.parametrize(
    ("policy", "group", "modes", "readers"),
    [
        ("group", GROUP.gr_gid, GROUP_READABLE, Acl()),
        ("split", 991, WORLD_READABLE, Acl()),
        ("acl", 991, OWNER_READABLE, Acl((ME.pw_uid,))),
    ],
)
def test_worker_owns_releases(policy: str, group: int, modes: Modes, readers: Acl) -> None:
    found = by_path(app(policy))
    right = Policy(990, group, modes, readers)
    venvs = environment_policy(right)
    assert found["/srv/shop/releases"] == PermissionRule(Path("/srv/shop/releases"), right, within=right)
    assert found["/srv/shop/venvs"] == PermissionRule(Path("/srv/shop/venvs"), venvs, within=venvs)
    assert found["/srv/shop"].policy == right and found["/srv/shop"].reach == "alone"


@pytest.mark.parametrize("policy", ["group", "split", "acl"])
def test_nginx_passes_to_static_files(policy: str) -> None:
    site = {"domain": "shop.example.org", "static": {"/static/": "shop/static", "/media/": "shop/img"}}
    found = by_path(app(policy, site=site))
    place, release = found["/srv/shop/releases"].policy.modes, found["/srv/shop/releases"].within
    assert place and place.directory & 0o007 in (0o001, 0o005) and found["/srv/shop"].policy.modes == place
    assert release and release.modes
    passable, public = release.modes.passable, release.modes.public
    wanted = {"": passable, "shop": passable, "shop/static": public, "shop/img/a": public}
    closed = {"shopping": release.modes, "shop/static2": release.modes, "venv": release.modes}
    assert {name: release.modes_in(name) for name in {**wanted, **closed}} == {**wanted, **closed}
    assert (public.file & 0o007, public.program & 0o007, public.directory & 0o007) == (0o4, 0o5, 0o5)


@pytest.mark.parametrize("policy", ["group", "split", "acl"])
def test_shared_files_are_private(policy: str) -> None:
    rule = by_path(app(policy, shared={"files": [".env"]}))["/srv/shop/shared/.env"]
    assert rule.needed and rule.policy.modes is not None
    assert rule.policy.modes.file == 0o640
    assert rule.policy.group == (991 if policy == "acl" else GROUP.gr_gid)


def test_app_owns_its_data() -> None:
    of = app(shared={"directories": ["uploads"], "data": "/var/lib/shop"})
    path, policy = Path("/var/lib/shop/uploads"), Policy(ME.pw_uid, GROUP.gr_gid, WRITABLE)
    assert by_path(of)[str(path)] == PermissionRule(path, policy, "data")


def test_deploy_key_is_private() -> None:
    found = by_path(app(deploy_key="/var/lib/hookd/keys/shop"))
    assert found["/var/lib/hookd/keys/shop"].policy == Policy(990, 991, PRIVATE)
    assert found["/var/lib/hookd/mirrors/shop.git"] == PermissionRule(
        found["/var/lib/hookd/mirrors/shop.git"].path, Policy(990, None), "tree"
    )


def test_root_owns_systemd_variables() -> None:
    found = by_path(app(build={"environment_file": "/etc/hookd/env/shop"}))
    assert found["/etc/hookd/env/shop"].policy == Policy(0, 991, GROUP_READABLE)
    assert "/srv/.env" not in by_path(app(build={"environment_file": "/srv/.env"}))


@pytest.mark.parametrize(("policy", "umask"), [("group", 0o027), ("split", 0o022), ("acl", 0o027)])
def test_umask_gives_the_policys_modes(policy: str, umask: int) -> None:
    ownership = app(policy).ownership
    assert umask_of(ownership) == umask
    modes = code_policy(ownership, None, 0).modes
    assert modes is not None
    assert (modes.file, modes.program, modes.directory & 0o777) == (0o666 & ~umask, 0o777 & ~umask, 0o777 & ~umask)


@pytest.mark.parametrize("policy", ["group", "split", "acl"])
def test_missing_account_gets_a_hint(policy: str) -> None:
    ownership = Ownership.model_validate({"policy": policy, "group": "no-such-group", "user": "no-such-user"})
    with pytest.raises(OwnershipError, match=r"the (group|user) no-such-") as caught:
        secret_policy(ownership, None, 0)
    assert caught.value.hint.startswith(("sudo groupadd --system no-such", "sudo useradd --system"))


@pytest.mark.threat(88)
def test_builds_read_code_alone() -> None:
    ownership, builder = Ownership(policy="acl", user=ME.pw_name), pwd.getpwnam("daemon")
    assert code_policy(ownership, 1, 1, builder=builder.pw_name).acl == Acl((ME.pw_uid, builder.pw_uid))
    assert secret_policy(ownership, 1, 1).acl == Acl((ME.pw_uid,))


def test_acl_bytes_equal_the_kernels() -> None:
    entries = [(1, 6, -1), (2, 5, 33), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    assert readers_acl((33,), 0o640) == packed
    name = pwd.getpwuid(0).pw_name
    assert format_acl(readers_acl((0,), 0o750)) == f"user::rwx,user:{name}:r-x,group::---,mask::r-x,other::---"


def test_mismatch_text() -> None:
    root = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    drift = AttributeMismatch("/srv/a\nb", FileAttributes(0, 0, 0o644), FileAttributes(4_000_000, 4_000_001, 0o640))
    assert str(drift) == f"/srv/a\\nb is {root[0]}:{root[1]} 0644, should be 4000000:4000001 0640"
    left = AttributeMismatch("/srv/a", FileAttributes(0, 0, 0o644), FileAttributes(0, 0, 0o640), "it is not yours")
    assert str(left).endswith("should be root:root 0640 (it is not yours)")
    done = AttributeMismatch("/srv/a", FileAttributes(0, 0, 0o644), FileAttributes(0, 0, 0o640), repaired=True)
    assert str(done) == "/srv/a was root:root 0644, is now root:root 0640"


def test_odd_things_say_what_they_are() -> None:
    special = "/srv/\\x1b[2J is neither a file, a directory nor a link: remove it"
    assert str(Unauditable("/srv/\x1b[2J", "special")) == special
    assert str(Unauditable("/srv/a", "unreadable", "Permission denied")) == "/srv/a cannot be read: Permission denied"
    assert str(Unauditable("/srv/a", "device")) == "/srv/a is on another file system and left alone"


def test_environment_has_no_write_bits() -> None:
    found = environment_policy(code_policy(Ownership(policy="split"), 990, 991))
    assert (found.modes, found.is_environment) == (Modes(0o444, 0o555, 0o755), True)
