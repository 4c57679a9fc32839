"""Choose the file that lists a release's packages, and read what decides the content of its environment."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from hookd.model.hint import Hint, HintKind
from hookd.model.nested import table, texts
from hookd.model.tables.build import LOCKS, Dependencies
from worker.environment.commit_files import PYPROJECT, CommitFiles, malformed
from worker.environment.locks import (
    is_local_lock,
    read_json,
    read_pdm_lock,
    read_pipfile_lock,
    reject_editable,
    reject_unsafe_names,
)
from worker.environment.project import has_dependencies, has_local_sources, is_package, uses_src
from worker.environment.python import Wanted, from_project, from_specifier, from_version_files
from worker.environment.requirements import PackageList, read_lines, read_package_list
from worker.errors import CommitRefused, Fault

Kind = Literal["none", "uv", "pylock", "poetry", "locked", "list", "hashed", "project"]
DEFAULT_FILES: Final = (*LOCKS, "requirements.txt", PYPROJECT, "setup.cfg", "setup.py")
_ALLOW_BUILD_HINT: Final = Hint(HintKind.ALLOW_BUILD)
LOCK_HINTS: Final = {"uv.lock": Hint(HintKind.LOCK_UV), "poetry.lock": Hint(HintKind.EXPORT_POETRY)}
_CONDA: Final = ("environment.yml", "environment.yaml")
_SSH: Final = re.compile(rb"ssh://|\bgit@[\w.-]+:")
_MAX_LINKED: Final = 1000
# Each costs time, and no workspace has as many.
_MAX_GLOBS: Final = 100
# A list at a URL may hold the option, too.
_ASKS_FOR_BUILDS: Final = re.compile(r"--no-binary|-r ")


@dataclass(frozen=True)
class Source:
    """The packages of an environment, and the project that they belong to.

    `file` lists the packages, `directory` is its project's. `texts` decide the content, and `settings` of the project
    for uv do so too. `packages` is the plain list for uv. `is_local` means that something of the commit itself is
    installed, and `project` is the project's directory if it is a package. `must_install` means that the app cannot be
    imported without that.
    """

    kind: Kind
    file: Path | None
    directory: Path
    texts: tuple[bytes, ...] = ()
    settings: tuple[bytes, ...] = ()
    packages: PackageList = field(default_factory=PackageList)
    wanted: tuple[Wanted, ...] = ()
    is_local: bool = False
    project: Path | None = None
    must_install: bool = False

    @property
    def name(self) -> str:
        """Return the file's name, or ""."""
        return self.file.name if self.file else ""

    @property
    def uses_ssh(self) -> bool:
        """Return True if packages come from git by ssh."""
        return any(_SSH.search(text) for text in self.texts)


def read_source(release: Path, directory: Path, wants: Dependencies) -> Source:
    """Return what the environment of an app in `directory` of a release needs. Raises CommitRefused."""
    files = CommitFiles(release)
    try:
        file = _find_file(files, directory, wants.file)
        if file is None:
            return Source("none", None, directory, wanted=_version_files(files, directory))
        return _read_file(files, directory, file, wants)
    except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        # Code below takes values of a file as they should be. A fault of the host is a DeployError.
        raise malformed("the commit's list of packages", error) from error


def _read_file(files: CommitFiles, directory: Path, file: Path, wants: Dependencies) -> Source:
    project = files.project(file.parent)
    found = _read(files, directory, file, project, wants)
    tables = _settings_of_uv(files, found.directory)
    settings = tuple(json.dumps(one, sort_keys=True, default=str).encode() for one in tables)
    conditions = (*found.wanted, *from_project(project), *_version_files(files, directory))
    found = replace(found, settings=settings, wanted=conditions)
    _check(found, tables, wants)
    return found


def _find_file(files: CommitFiles, directory: Path, name: str | None) -> Path | None:
    """Return the file that lists the packages, or None if there is none. Raises CommitRefused."""
    if name is not None:
        found = next((path for path in (directory / name, files.release / name) if files.has(path)), None)
        if found is None:
            cause = f"the commit has no {name}, which dependencies.file asks for"
            raise CommitRefused(cause, hint=Hint(HintKind.SET_KEY, "dependencies.file=…"), fault=Fault.CONFIGURATION)
        return found
    above = [parent for parent in directory.parents if parent.is_relative_to(files.release)]
    for known in DEFAULT_FILES:
        workspaces = [place for place in above if known == "uv.lock" and _is_member(files, directory, place)]
        for place in (directory, *workspaces):
            if files.has(place / known) and (known != PYPROJECT or has_dependencies(files.project(place))):
                return place / known
    _reject_unread(files, directory)
    return None


def _is_member(files: CommitFiles, directory: Path, above: Path) -> bool:
    """Return True if a project belongs to a workspace of uv, which has one lock for all its projects above them."""
    workspace = table(files.project(above), "tool", "uv", "workspace")
    path = directory.relative_to(above).as_posix()
    included, excluded = (
        any(fnmatchcase(path, glob.rstrip("/")) for glob in texts(workspace.get(key))[:_MAX_GLOBS])
        for key in ("members", "exclude")
    )
    return included and not excluded and files.has(directory / PYPROJECT)


def _reject_unread(files: CommitFiles, directory: Path) -> None:
    """Raise CommitRefused for a list of packages in a format that hookd does not read, or of another name."""
    for name in _CONDA:
        if files.has(directory / name):
            raise CommitRefused(f"{name} is for conda, which hookd does not use", hint=Hint(HintKind.FREEZE_PACKAGES))
    if files.has(directory / "Pipfile"):
        raise CommitRefused("Pipfile has no Pipfile.lock beside it", hint=Hint(HintKind.LOCK_PIPENV))
    inner = directory / "requirements"
    listed = sorted(inner.glob("*.txt")) if files.find(inner) else []
    others = [*listed, *sorted(directory.glob("requirements*.txt"))]
    if others:
        best = next((path for path in others if path.stem.startswith("prod")), others[0])
        name = best.relative_to(directory).as_posix()
        raise CommitRefused(f"{name} is not read by default", hint=Hint(HintKind.CHOOSE_FILE, name))


def _read(files: CommitFiles, directory: Path, file: Path, project: dict[str, Any], wants: Dependencies) -> Source:
    """Read the list of packages, and if the project itself is installed besides."""
    own = file.parent if is_package(files, file.parent, project) else None
    match file.name:
        case "uv.lock":
            return _uv_lock(files, file, directory)
        case "pylock.toml":
            found = _pylock(files, file)
        case "poetry.lock":
            found = _poetry_lock(files, file)
        case "pdm.lock":
            found = _plain_lock(files, file, read_pdm_lock(files, file, wants.groups))
        case "Pipfile.lock":
            lines = read_pipfile_lock(files, file, wants.groups)
            found = _plain_lock(files, file, lines, _pipenv_python(files, file))
        case "pyproject.toml" | "setup.cfg" | "setup.py":
            if has_local_sources(project):
                raise CommitRefused(f"{file.name} installs from the commit itself", hint=Hint(HintKind.LOCK_UV))
            own = own or (file.parent if file.name != PYPROJECT else None)
            found = Source("project", file, file.parent, texts=(files.read(file),))
        case _:
            found = _requirements(files, directory, file)
            own = None if file.parent.resolve() in found.packages.local else own
    return _with_project(files, found, own, wants)


def _with_project(files: CommitFiles, found: Source, own: Path | None, wants: Dependencies) -> Source:
    """Return the source with its project, which is left out where no build code may run, if the app works without."""
    must_install = own is not None and uses_src(files, own)
    if own is None or not (wants.allow_build or must_install):
        return found
    return replace(found, project=own, is_local=True, must_install=must_install)


def _uv_lock(files: CommitFiles, file: Path, directory: Path) -> Source:
    conditions = from_specifier(files.toml(file).get("requires-python"), file.name)
    contents = tuple(files.read(path) for path in (file, *_member_files(files, file)))
    start = directory if directory.is_relative_to(file.parent) else file.parent
    return Source("uv", file, start, texts=contents, wanted=tuple(conditions), is_local=is_local_lock(files, file))


def _pylock(files: CommitFiles, file: Path) -> Source:
    """Return the source of pylock.toml, which uv reads."""
    reject_editable(files, file)
    conditions = tuple(from_specifier(files.toml(file).get("requires-python"), file.name))
    contents = (files.read(file),)
    return Source("pylock", file, file.parent, texts=contents, wanted=conditions, is_local=is_local_lock(files, file))


def _poetry_lock(files: CommitFiles, file: Path) -> Source:
    """Return the source of poetry.lock, which Poetry exports."""
    reject_unsafe_names(files, file)
    python = table(files.toml(file), "metadata").get("python-versions")
    conditions = tuple(from_specifier(python, file.name))
    contents = (files.read(file), files.read(file.with_name(PYPROJECT)))
    return Source("poetry", file, file.parent, texts=contents, wanted=conditions, is_local=is_local_lock(files, file))


def _plain_lock(files: CommitFiles, file: Path, lines: list[str], wanted: tuple[Wanted, ...] = ()) -> Source:
    """Return the source of a lock that hookd reads itself."""
    contents, packages = (files.read(file),), read_lines(files, lines, file)
    is_local = bool(packages.local)
    return Source("locked", file, file.parent, texts=contents, packages=packages, wanted=wanted, is_local=is_local)


def _requirements(files: CommitFiles, directory: Path, file: Path) -> Source:
    packages = read_package_list(files, file, directory)
    contents = (*packages.texts, *_linked(files, packages.links))
    kind: Kind = "hashed" if packages.is_hashed else "list"
    return Source(kind, file, directory, texts=contents, packages=packages, is_local=bool(packages.local))


def _pipenv_python(files: CommitFiles, file: Path) -> tuple[Wanted, ...]:
    requires = table(read_json(files, file), "_meta", "requires")
    version = requires.get("python_full_version") or requires.get("python_version")
    return tuple(replace(one, is_pinned=True) for one in from_specifier(version, file.name))


def _member_files(files: CommitFiles, lock: Path) -> list[Path]:
    """Return the pyproject.toml of each project that a uv.lock covers: it decides about groups and sources."""
    sources = (table(package, "source") for package in files.toml(lock).get("package", []))
    places = {str(one.get("editable") or one.get("virtual") or one.get("directory") or ".") for one in sources}
    found = {files.resolve(lock.with_name(PYPROJECT)): lock.with_name(PYPROJECT)}
    for path in (lock.parent / place / PYPROJECT for place in sorted(places)):
        if files.has(path):
            found.setdefault(files.resolve(path), path)
    return list(found.values())


def _linked(files: CommitFiles, directories: Sequence[Path]) -> tuple[bytes, ...]:
    """Return a line for each file of `--find-links`, with its content's hash. Raises CommitRefused."""
    listed = (path for directory in dict.fromkeys(directories) for path in sorted(directory.iterdir()))
    found = list(islice(listed, _MAX_LINKED + 1))
    if len(found) > _MAX_LINKED:
        raise CommitRefused(f"--find-links names more than {_MAX_LINKED} files")
    return tuple(f"{path.name} {files.digest(path)}".encode() for path in found if files.has(path))


def _settings_of_uv(files: CommitFiles, directory: Path) -> list[dict[str, Any]]:
    """Return the settings that uv finds in a directory and above, which may change what is installed."""
    found = []
    for place in _up_to_top(files.resolve(directory), files.top):
        if files.has(place / "uv.toml"):
            found.append(files.toml(place / "uv.toml"))
        if own := table(files.project(place), "tool", "uv"):
            found.append(own)
    return found


def _version_files(files: CommitFiles, directory: Path) -> tuple[Wanted, ...]:
    return tuple(from_version_files(files, _up_to_top(directory, files.release)))


def _up_to_top(directory: Path, top: Path) -> list[Path]:
    return [place for place in (directory, *directory.parents) if place.is_relative_to(top)]


def _check(found: Source, settings: list[dict[str, Any]], wants: Dependencies) -> None:
    """Raise CommitRefused for what the app's configuration does not allow, or cannot mean for this file."""
    is_refused = found.is_local and (found.kind != "uv" or found.must_install)
    if is_refused and not wants.allow_build:
        raise CommitRefused(f"{found.name} would run the build code of the commit itself", hint=_ALLOW_BUILD_HINT)
    builds = [*filter(_ASKS_FOR_BUILDS.match, found.packages.lines), *_build_settings(settings)]
    if builds and not wants.allow_build:
        raise CommitRefused(f"the commit uses {builds[0][:80]}, which runs build code", hint=_ALLOW_BUILD_HINT)
    if found.kind in ("list", "hashed") and found.name not in LOCKS and (wants.extras or wants.groups):
        raise CommitRefused(f"{found.name} has neither extras nor groups", hint=Hint(HintKind.CHOOSE_FILE, PYPROJECT))


def _build_settings(settings: list[dict[str, Any]]) -> list[str]:
    """Return the settings with which a project tells uv to build packages, whatever its command line says."""
    tables = [part for one in settings for part in (one, table(one, "pip"))]
    return [f"{key} of uv" for one in tables for key, value in one.items() if value and key.startswith("no-binary")]
