"""Choose the file that lists a release's packages, and read what decides the content of its environment."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from hookd.model.hint import Hint, HintKind
from hookd.model.nested import table, texts
from hookd.model.tables.build import LOCKS, Dependencies
from worker.environment.locks import is_local_lock, read_pdm_lock, read_pipfile_lock, reject_editable
from worker.environment.project import (
    PYPROJECT,
    has_dependencies,
    has_local_sources,
    is_package,
    read_bytes,
    read_project,
    read_toml,
    uses_src,
)
from worker.environment.python import Wanted, from_project, from_specifier, from_version_files
from worker.environment.requirements import PackageList, read_package_list
from worker.errors import CommitRefused

Kind = Literal["none", "uv", "pylock", "poetry", "locked", "list", "hashed", "project"]
DEFAULT_FILES: Final = (*LOCKS, "requirements.txt", PYPROJECT, "setup.cfg", "setup.py")
_ALLOW_BUILD_HINT: Final = Hint(HintKind.ALLOW_BUILD)
LOCK_HINTS: Final = {"uv.lock": Hint(HintKind.LOCK_UV), "poetry.lock": Hint(HintKind.EXPORT_POETRY)}
_CONDA: Final = ("environment.yml", "environment.yaml")
_SSH: Final = re.compile(rb"ssh://|\bgit@[\w.-]+:")
_MAX_LINKED: Final = 1000


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
    file = _find_file(release, directory, wants.file)
    if file is None:
        return Source("none", None, directory, wanted=_version_files(release, directory))
    project = read_project(file.parent)
    found = _read(release, directory, file, project, wants)
    settings = _settings_of_uv(release, file.parent)
    conditions = (*found.wanted, *from_project(project), *_version_files(release, directory))
    found = replace(found, settings=settings, wanted=conditions)
    _check(found, wants)
    return found


def _find_file(release: Path, directory: Path, name: str | None) -> Path | None:
    """Return the file that lists the packages, or None if there is none. Raises CommitRefused."""
    if name is not None:
        found = next((path for path in (directory / name, release / name) if path.is_file()), None)
        if found is None:
            raise CommitRefused(f"the commit has no {name}, which dependencies.file asks for")
        return found
    above = [parent for parent in directory.parents if parent == release or parent.is_relative_to(release)]
    for known in DEFAULT_FILES:
        workspaces = [place for place in above if known == "uv.lock" and _is_member(directory, place)]
        for place in (directory, *workspaces):
            if (place / known).is_file() and (known != PYPROJECT or has_dependencies(read_project(place))):
                return place / known
    _reject_unread(directory)
    return None


def _is_member(directory: Path, above: Path) -> bool:
    """Return True if a project belongs to a workspace of uv, which has one lock for all its projects above them."""
    workspace = table(read_project(above), "tool", "uv", "workspace")
    path = directory.relative_to(above).as_posix()
    included, excluded = (
        any(fnmatchcase(path, glob.rstrip("/")) for glob in texts(workspace.get(key))) for key in ("members", "exclude")
    )
    return included and not excluded and (directory / PYPROJECT).is_file()


def _reject_unread(directory: Path) -> None:
    """Raise CommitRefused for a list of packages in a format that hookd does not read, or of another name."""
    for name in _CONDA:
        if (directory / name).is_file():
            raise CommitRefused(f"{name} is for conda, which hookd does not use", hint=Hint(HintKind.FREEZE_PACKAGES))
    if (directory / "Pipfile").is_file():
        raise CommitRefused("Pipfile has no Pipfile.lock beside it", hint=Hint(HintKind.LOCK_PIPENV))
    others = [*sorted(directory.glob("requirements/*.txt")), *sorted(directory.glob("requirements*.txt"))]
    if others:
        best = next((path for path in others if path.stem.startswith("prod")), others[0])
        name = best.relative_to(directory).as_posix()
        raise CommitRefused(f"{name} is not read by default", hint=Hint(HintKind.CHOOSE_FILE, name))


def _read(release: Path, directory: Path, file: Path, project: dict[str, Any], wants: Dependencies) -> Source:
    """Read the list of packages, and if the project itself is installed besides."""
    own = file.parent if is_package(file.parent, project) else None
    match file.name:
        case "uv.lock":
            return _uv_lock(file, directory)
        case "pylock.toml":
            found = _pylock(file)
        case "poetry.lock":
            found = _poetry_lock(file)
        case "pdm.lock":
            found = _plain_lock(file, read_pdm_lock(file, wants.groups))
        case "Pipfile.lock":
            found = _plain_lock(file, read_pipfile_lock(file, wants.groups), _pipenv_python(file))
        case "pyproject.toml" | "setup.cfg" | "setup.py":
            if has_local_sources(project):
                raise CommitRefused(f"{file.name} installs from the commit itself", hint=Hint(HintKind.LOCK_UV))
            own = own or (file.parent if file.name != PYPROJECT else None)
            found = Source("project", file, file.parent, texts=(read_bytes(file),))
        case _:
            found = _requirements(release, directory, file)
            own = None if file.parent.resolve() in found.packages.local else own
    return _with_project(found, own, wants)


def _with_project(found: Source, own: Path | None, wants: Dependencies) -> Source:
    """Return the source with its project, which is left out where no build code may run, if the app works without."""
    must_install = own is not None and uses_src(own)
    if own is None or not (wants.allow_build or must_install):
        return found
    return replace(found, project=own, is_local=True, must_install=must_install)


def _uv_lock(file: Path, directory: Path) -> Source:
    conditions = from_specifier(read_toml(file).get("requires-python"), file.name)
    contents = tuple(read_bytes(path) for path in (file, *_member_files(file)))
    start = directory if directory.is_relative_to(file.parent) else file.parent
    return Source("uv", file, start, texts=contents, wanted=tuple(conditions), is_local=is_local_lock(file))


def _pylock(file: Path) -> Source:
    """Return the source of pylock.toml, which uv reads."""
    reject_editable(file)
    conditions = tuple(from_specifier(read_toml(file).get("requires-python"), file.name))
    contents = (read_bytes(file),)
    return Source("pylock", file, file.parent, texts=contents, wanted=conditions, is_local=is_local_lock(file))


def _poetry_lock(file: Path) -> Source:
    """Return the source of poetry.lock, which Poetry exports."""
    python = table(read_toml(file), "metadata").get("python-versions")
    conditions = tuple(from_specifier(python, file.name))
    contents = (read_bytes(file), read_bytes(file.with_name(PYPROJECT)))
    return Source("poetry", file, file.parent, texts=contents, wanted=conditions, is_local=is_local_lock(file))


def _plain_lock(file: Path, lines: list[str], wanted: tuple[Wanted, ...] = ()) -> Source:
    """Return the source of a lock that hookd reads itself."""
    is_local = any("file://" in line for line in lines)
    contents, packages = (read_bytes(file),), PackageList(lines)
    return Source("locked", file, file.parent, texts=contents, packages=packages, wanted=wanted, is_local=is_local)


def _requirements(release: Path, directory: Path, file: Path) -> Source:
    packages = read_package_list(file, directory=directory, top=release)
    contents = (*packages.texts, *_linked(packages.links))
    kind: Kind = "hashed" if packages.is_hashed else "list"
    return Source(kind, file, directory, texts=contents, packages=packages, is_local=bool(packages.local))


def _pipenv_python(file: Path) -> tuple[Wanted, ...]:
    requires = table(json.loads(read_bytes(file)), "_meta", "requires")
    version = requires.get("python_full_version") or requires.get("python_version")
    return tuple(replace(one, is_pinned=True) for one in from_specifier(version, file.name))


def _member_files(lock: Path) -> list[Path]:
    """Return the pyproject.toml of each project that a uv.lock covers: it decides about groups and sources."""
    found = [lock.with_name(PYPROJECT)]
    for package in map(table, read_toml(lock).get("package", [])):
        source = table(package, "source")
        place = source.get("editable") or source.get("virtual") or source.get("directory")
        path = lock.parent / str(place) / PYPROJECT
        if place and path not in found and path.is_file():
            found.append(path)
    return found


def _linked(directories: Sequence[Path]) -> tuple[bytes, ...]:
    """Return a line for each file of `--find-links`, with its content's hash. Raises CommitRefused."""
    files = [path for directory in directories for path in sorted(directory.iterdir()) if path.is_file()]
    if len(files) > _MAX_LINKED:
        raise CommitRefused(f"--find-links names more than {_MAX_LINKED} files")
    return tuple(f"{path.name} {hashlib.sha256(read_bytes(path)).hexdigest()}".encode() for path in files)


def _settings_of_uv(release: Path, directory: Path) -> tuple[bytes, ...]:
    """Return the project's own settings for uv, which may change what is installed."""
    found = []
    for place in (directory, *directory.parents):
        if not place.is_relative_to(release):
            break
        if (place / "uv.toml").is_file():
            found.append(read_bytes(place / "uv.toml"))
        if own := table(read_project(place), "tool", "uv"):
            found.append(json.dumps(own, sort_keys=True, default=str).encode())
    return tuple(found)


def _version_files(release: Path, directory: Path) -> tuple[Wanted, ...]:
    places = [place for place in (directory, *directory.parents) if place.is_relative_to(release)]
    return tuple(from_version_files(places))


def _check(found: Source, wants: Dependencies) -> None:
    """Raise CommitRefused for what the app's configuration does not allow, or cannot mean for this file."""
    is_refused = found.is_local and (found.kind != "uv" or found.must_install)
    if is_refused and not wants.allow_build:
        raise CommitRefused(f"{found.name} would run the build code of the commit itself", hint=_ALLOW_BUILD_HINT)
    builds = [line for line in found.packages.lines if line.startswith("--no-binary")]
    if builds and not wants.allow_build:
        raise CommitRefused(f"{found.name} uses {builds[0]}, which runs build code", hint=_ALLOW_BUILD_HINT)
    if found.kind in ("list", "hashed") and found.name not in LOCKS and (wants.extras or wants.groups):
        raise CommitRefused(f"{found.name} has neither extras nor groups", hint=Hint(HintKind.CHOOSE_FILE, PYPROJECT))
