"""The next command for a person: stored as a value, rendered by the programs that show it.

A record in Redis may be forged. So a hint names no app and no deployment of its own, and its argument is shown only
if it has the shape that its kind allows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class HintKind(StrEnum):
    """All hints that a record can hold."""

    SHOW_STATUS = "show_status"
    SHOW_APP = "show_app"
    SHOW_LOG = "show_log"
    SHOW_WORKER_LOG = "show_worker_log"
    SHOW_UNIT_LOG = "show_unit_log"
    SHOW_UNIT = "show_unit"
    SHOW_CIRCUS = "show_circus"
    SHOW_DISK_SPACE = "show_disk_space"
    SHOW_INODES = "show_inodes"
    RUN_DOCTOR = "run_doctor"
    DEPLOY = "deploy"
    DEPLOY_NOW = "deploy_now"
    DEPLOY_SKIPPED = "deploy_skipped"
    DEPLOY_QUARANTINED = "deploy_quarantined"
    CHECK_REPOSITORY = "check_repository"
    NAME_COMMIT = "name_commit"
    UNPIN = "unpin"
    THAW = "thaw"
    THAW_AS_ROOT = "thaw_as_root"
    START = "start"
    FIX_PERMISSIONS = "fix_permissions"
    UNTRACK = "untrack"
    INSTALL_GIT = "install_git"
    INSTALL_UV = "install_uv"
    SET_PYTHON = "set_python"
    ALLOW_BUILD = "allow_build"


_TEXTS: Final[Mapping[HintKind, str]] = {
    HintKind.SHOW_STATUS: "{hookd} status",
    HintKind.SHOW_APP: "{hookd} status {app}",
    HintKind.SHOW_LOG: "{hookd} logs {deployment}",
    HintKind.SHOW_WORKER_LOG: "journalctl --unit 'hookd-worker@*' --lines 50",
    HintKind.SHOW_UNIT_LOG: "journalctl --unit {argument} --lines 50",
    HintKind.SHOW_UNIT: "systemctl status {argument}",
    HintKind.SHOW_CIRCUS: "circusctl --endpoint {argument} status",
    HintKind.SHOW_DISK_SPACE: "df -h {argument}",
    HintKind.SHOW_INODES: "df -i {argument}",
    HintKind.RUN_DOCTOR: "{hookd} doctor {app}",
    HintKind.DEPLOY: "{hookd} deploy {app}",
    HintKind.DEPLOY_NOW: "to try at once: {hookd} deploy {app}",
    HintKind.DEPLOY_SKIPPED: "to deploy it all the same: {hookd} deploy {app}",
    HintKind.DEPLOY_QUARANTINED: "push a newer commit, or try this one by hand: {hookd} deploy {app}",
    HintKind.CHECK_REPOSITORY: "check the address, the branch and the deploy key, then: {hookd} deploy {app}",
    HintKind.NAME_COMMIT: "name a commit: {hookd} rollback {app} --to COMMIT",
    HintKind.UNPIN: "push a newer commit, or follow the branch again: {hookd} unpin {app}",
    HintKind.THAW: "{hookd} thaw {app}",
    HintKind.THAW_AS_ROOT: "sudo hookd thaw {app}",
    HintKind.START: "sudo hookd start {app}",
    HintKind.FIX_PERMISSIONS: "sudo hookd permissions {app} --fix",
    HintKind.UNTRACK: "git rm -r --cached {argument}, add it to .gitignore, and push",
    HintKind.INSTALL_GIT: "sudo apt-get install git",
    HintKind.INSTALL_UV: "install uv",
    HintKind.SET_PYTHON: "set dependencies.python to a Python that exists",
    HintKind.ALLOW_BUILD: "to run the packages' build code as the worker: set dependencies.allow_build = true",
}

_UNIT: Final = r"[\w@][\w.@-]*\.service"
_PATH: Final = r"(?:/(?!\.\.?(?:/|$))[\w.@+-]+)+"
# No argument may look like an option or mean something to a shell.
_ARGUMENTS: Final[Mapping[HintKind, str]] = {
    HintKind.SHOW_UNIT_LOG: _UNIT,
    HintKind.SHOW_UNIT: _UNIT,
    HintKind.SHOW_CIRCUS: rf"ipc://{_PATH}|tcp://[\w.:-]+",
    HintKind.SHOW_DISK_SPACE: _PATH,
    HintKind.SHOW_INODES: _PATH,
    HintKind.UNTRACK: r"[\w.][\w./@+-]*",
}


@dataclass(frozen=True)
class Hint:
    """The next command for a person; `argument` is a unit, a path or an endpoint, as `kind` asks for."""

    kind: HintKind
    argument: str = ""


class LogOnlyHint(str):
    """A command for root with names from the host; only the deployment's log shows it, because a record may be forged.

    The log is the worker's own file.
    """


AnyHint = Hint | LogOnlyHint


def stored_hint(hint: AnyHint | None) -> Hint | None:
    """Return the hint for the deployment's record."""
    return Hint(HintKind.SHOW_LOG) if isinstance(hint, LogOnlyHint) else hint


def render_hint(hint: AnyHint, app: str, deployment: str = "", *, hookd: str = "hookd") -> str:
    """Return the text of a hint; `hookd` is the call of the program, such as `sudo hookd`.

    An argument without the shape for its kind is never shown. The hint then leads to the log.
    """
    if isinstance(hint, LogOnlyHint):
        return hint
    known = re.fullmatch(_ARGUMENTS.get(hint.kind, ""), hint.argument, re.ASCII)
    text = _TEXTS[hint.kind if known else HintKind.SHOW_LOG]
    return text.format(app=app, deployment=deployment, argument=hint.argument, hookd=hookd)
