"""The next command for a person: stored as a value, rendered by the programs that show it.

A record in Redis may be forged. So a hint names no app and no deployment of its own, and its argument is shown only
if it has the shape that its kind allows.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from hookd.model.ids import RELEASE_PATTERN
from hookd.model.packages import NODE_PACKAGES, PACKAGES

# No argument may look like an option or mean something to a shell.
_UNIT: Final = r"[\w@][\w.@-]*\.service"
_PATH: Final = r"(?:/(?!\.\.?(?:/|$))[\w.@+-]+)+"
_POINT: Final = r"[\w.][\w./@+-]*"
_NAMES: Final = rf'"{_POINT}"(?:,"{_POINT}")*'
_ENDPOINT: Final = rf"ipc://{_PATH}|tcp://[\w.:-]+"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
# Stands for a value that a person must know.
OPEN_VALUE: Final = "…"
# Keys with their values. None of them lets a program of a push do more.
_SETTING: Final = (
    rf"(?:service\.entry|health\.url|dependencies\.(?:python|file|environment\.UV_INDEX_(?:URL|STRATEGY)))={OPEN_VALUE}"
    r"|health\.(?:deadline|timeout|status)=[0-9]{1,6}|health\.host=(?:…|[a-z0-9.-]{1,253})"
    r"|limits\.(?:silence_seconds|step_seconds|deploy_seconds)=[0-9]{1,6}|release\.seconds=[0-9]{1,6}"
    r"|(?:build|service)\.memory_max=[0-9]{1,6}[MG]"
    r"""|shared\.directories='\["[\w./@+-]+"(?:, "[\w./@+-]+")*\]'"""
    rf"|shared\.directories={OPEN_VALUE}"
)


class HintKind(Enum):
    """All hints that a record can hold, each with its stored name, its text and the pattern of its argument."""

    def __new__(cls, name: str, text: str, argument: str = "") -> Self:
        """Store `name` as the value."""
        kind = object.__new__(cls)
        kind._value_ = name
        kind.text = text
        kind.argument = argument
        return kind

    @classmethod
    def _missing_(cls, value: object) -> "HintKind":
        """Read the kind of another version, which must not hide the record."""
        return cls.SHOW_LOG

    text: str
    argument: str

    SHOW_STATUS = "show_status", "{hookd} status"
    SHOW_LOG = "show_log", "{hookd} logs {deployment}"
    SHOW_WORKER_LOG = "show_worker_log", "journalctl --unit 'hookd-worker@*' --lines 50"
    SHOW_UNIT_LOG = "show_unit_log", "journalctl --unit {argument} --lines 50", _UNIT
    SHOW_UNIT = "show_unit", "systemctl status {argument}", _UNIT
    SHOW_CIRCUS = "show_circus", "circusctl --endpoint {argument} status", _ENDPOINT
    SHOW_DISK_SPACE = "show_disk_space", "df -h {argument}", _PATH
    SHOW_INODES = "show_inodes", "df -i {argument}", _PATH
    RUN_DOCTOR = "run_doctor", "{hookd} doctor {app}"
    DEPLOY = "deploy", "{hookd} deploy {app}"
    PUSH_FIX = "push_fix", "push a fix"
    LIST_COMMITS = "list_commits", "git log --oneline origin/{argument}", _POINT
    NAME_COMMIT = "name_commit", "{hookd} rollback {app} --to COMMIT"
    UNPIN = "unpin", "{hookd} unpin {app}"
    THAW = "thaw", "{hookd} thaw {app}"
    START = "start", "sudo hookd start {app}"
    RESTORE = "restore", "sudo hookd restore {app} {argument}", RELEASE_PATTERN
    # Without root, with circus.
    RESTORE_OWN = "restore_own", "{hookd} restore {app} {argument}", RELEASE_PATTERN
    FIX_PERMISSIONS = "fix_permissions", "sudo hookd permissions {app} --fix"
    UNTRACK = "untrack", "git rm -r --cached {argument}", _POINT
    SET_UP = "set_up", "sudo hookd setup"
    SET_BRANCH = "set_branch", "sudo hookd app edit {app} --set branch={argument}", _POINT
    SET_GIT_SECONDS = "set_git_seconds", "sudo hookd app edit {app} --set limits.git_seconds={argument}", r"[0-9]{1,5}"
    SHARE_DIRECTORIES = "share_directories", "sudo hookd app edit {app} --set 'shared.directories=[{argument}]'", _NAMES
    SKIP_SUBMODULES = "skip_submodules", "sudo hookd app edit {app} --set checkout.submodules=false"
    SKIP_LARGE_FILES = "skip_large_files", "sudo hookd app edit {app} --set checkout.lfs=false"
    INSTALL_GIT_LFS = "install_git_lfs", "sudo apt-get install git-lfs"
    INSTALL_GIT = "install_git", "sudo apt-get install git"
    INSTALL_UV = "install_uv", "pip install uv"
    SET_PYTHON = "set_python", "sudo hookd app edit {app} --set dependencies.python=/usr/bin/python3"
    INSTALL_PYTHON = (
        "install_python",
        "sudo /opt/hookd/current/venv/bin/uv python install --install-dir /opt/hookd/python {argument}",
        r"3\.[0-9]{1,2}",
    )
    INSTALL_OWN_PYTHON = "install_own_python", "uv python install {argument}", r"3\.[0-9]{1,2}"
    CHOOSE_FILE = "choose_file", "sudo hookd app edit {app} --set dependencies.file={argument}", _POINT
    # In the project, before the next commit.
    FREEZE_PACKAGES = "freeze_packages", "pip list --not-required --format=freeze > requirements.txt"
    LOCK_UV = "lock_uv", "uv lock"
    EXPORT_UV = "export_uv", "uv export --no-dev --no-editable --output-file pylock.toml"
    EXPORT_POETRY = "export_poetry", "poetry export --output requirements.txt"
    EXPORT_PDM = "export_pdm", "pdm export --prod --output requirements.txt"
    EXPORT_PIPENV = "export_pipenv", "pipenv requirements > requirements.txt"
    LOCK_PIPENV = "lock_pipenv", "pipenv lock"
    EDIT_VARIABLES = "edit_variables", "sudoedit {argument}", r"/etc/hookd/env/[a-z0-9-]+(?:\.build)?"
    ALLOW_BUILD = "allow_build", "sudo hookd app edit {app} --set dependencies.allow_build=true"
    SET_KEY = "set_key", "sudo hookd app edit {app} --set {argument}", _SETTING
    SET_VARIABLE = "set_variable", "sudo hookd env set {app} {argument}", _VARIABLE
    SET_BUILD_VARIABLE = "set_build_variable", "sudo hookd env set --build {app} {argument}", _VARIABLE
    # Without root, with circus.
    EDIT_FILE = "edit_file", "${{EDITOR:-vi}} {argument}", _PATH
    INSTALL_PACKAGE = "install_package", "sudo apt-get install {argument}", "|".join(map(re.escape, sorted(PACKAGES)))
    INSTALL_NODE_PACKAGE = "install_node_package", "sudo npm install --global {argument}", "|".join(NODE_PACKAGES)
    MAKE_EXECUTABLE = "make_executable", "git update-index --chmod=+x {argument}", _POINT
    SHOW_PORT = "show_port", "sudo ss -ltnp sport = :{argument}", r"[0-9]{1,5}"


@dataclass(frozen=True)
class Hint:
    """The next command for a person. `argument` is a unit, a path or an endpoint, as `kind` asks for."""

    kind: HintKind
    argument: str = ""


class LogOnlyHint(str):
    """A command for root with names from the host. Only the deployment's log shows it, because a record may be forged.

    The log is the worker's own file.
    """


AnyHint = Hint | LogOnlyHint


def stored_hint(hint: AnyHint | None) -> Hint | None:
    """Return the hint for the deployment's record."""
    return Hint(HintKind.SHOW_LOG) if isinstance(hint, LogOnlyHint) else hint


def render_hint(hint: AnyHint, app: str, deployment: str = "", *, hookd: str = "hookd") -> str:
    """Return the text of a hint. `hookd` is the call of the program, such as `sudo hookd`.

    An argument without the shape for its kind is never shown. The hint then leads to the log.
    """
    if isinstance(hint, LogOnlyHint):
        return hint
    is_safe = re.fullmatch(hint.kind.argument, hint.argument, re.ASCII)
    kind = hint.kind if is_safe else HintKind.SHOW_LOG
    return kind.text.format(app=app, deployment=deployment, argument=hint.argument, hookd=hookd)
