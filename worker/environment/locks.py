"""Read the lock files whose format is plain: Pipfile.lock and pdm.lock become a list of packages with hashes."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hookd.model.hint import Hint, HintKind
from hookd.model.nested import table, texts
from worker.environment.commit_files import CommitFiles, malformed
from worker.errors import CommitRefused

_PIPENV_HINT: Final = Hint(HintKind.EXPORT_PIPENV)
# https://packaging.python.org/en/latest/specifications/name-normalization/
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PDM_HINT: Final = Hint(HintKind.EXPORT_PDM)


def read_pipfile_lock(files: CommitFiles, path: Path, groups: Sequence[str]) -> list[str]:
    """Return the packages of Pipfile.lock, those of `groups` too (Pipenv's categories). Raises CommitRefused."""
    found = read_json(files, path)
    sources = table(found, "_meta").get("sources", [])
    urls = [url for source in sources if (url := table(source).get("url"))]
    lines = [f"{'--extra-index-url' if number else '--index-url'} {url}" for number, url in enumerate(urls)]
    for group in ("default", *groups):
        packages = table(found, group)
        if group != "default" and not packages:
            raise CommitRefused(f"{path.name} has no packages of the group {group}")
        lines += [_pipenv_line(path, name, package) for name, package in sorted(packages.items())]
    return list(dict.fromkeys(lines))


def read_json(files: CommitFiles, path: Path) -> Any:
    """Return the value of Pipfile.lock. Raises CommitRefused."""
    try:
        return json.loads(files.read(path))
    except RecursionError as error:
        raise malformed(path.name, error) from None
    except ValueError as error:
        raise CommitRefused(f"{path.name} is not JSON: {error}", hint=_PIPENV_HINT) from None


def _pipenv_line(path: Path, name: str, package: Any) -> str:
    package = table(package)
    name += _extras(package.get("extras"))
    marker = f" ; {package['markers']}" if package.get("markers") else ""
    if "git" in package:
        return f"{name} @ git+{package['git']}@{package.get('ref', 'HEAD')}{marker}"
    if place := package.get("path") or package.get("file"):
        return f"{name} @ {_place(path, place)}{marker}"
    if "version" not in package:
        raise CommitRefused(f"{path.name} names no version of {name}", hint=_PIPENV_HINT)
    hashes = "".join(f" --hash={value}" for value in texts(package.get("hashes")))
    return f"{name}{package['version']}{marker}{hashes}"


def read_pdm_lock(files: CommitFiles, path: Path, groups: Sequence[str]) -> list[str]:
    """Return the packages of pdm.lock that the project and `groups` need. Raises CommitRefused."""
    found = files.toml(path)
    if "inherit_metadata" not in texts(table(found, "metadata").get("strategy")):
        raise CommitRefused(f"{path.name} does not say which group needs a package", hint=_PDM_HINT)
    wanted = {"default", *groups}
    return list(_pdm_lines(path, found.get("package", []), wanted))


def _pdm_lines(path: Path, packages: list[Any], wanted: set[str]) -> Iterator[str]:
    for package in map(table, packages):
        if wanted.isdisjoint(texts(package.get("groups"))):
            continue
        name = f"{package.get('name')}{_extras(package.get('extras'))}"
        marker = f" ; {package['marker']}" if package.get("marker") else ""
        if "git" in package:
            yield f"{name} @ git+{package['git']}@{package.get('revision')}{marker}"
        elif "path" in package:
            yield f"{name} @ {_place(path, package['path'])}{marker}"
        elif "url" in package:
            yield f"{name} @ {package['url']}{marker}"
        elif "version" in package:
            hashes = (table(file).get("hash") for file in package.get("files", []))
            yield f"{name}=={package['version']}{marker}" + "".join(f" --hash={value}" for value in hashes)
        else:
            raise CommitRefused(f"{path.name} names no version of {name}", hint=_PDM_HINT)


def _place(lock: Path, place: str) -> str:
    """Return the address of a package: a URL, or a place in the commit."""
    return place if "://" in place else f"file://{os.path.realpath(lock.parent / place)}"


def _extras(extras: Any) -> str:
    names = ",".join(texts(extras))
    return f"[{names}]" if names else ""


def is_local_lock(files: CommitFiles, path: Path) -> bool:
    """Return True if a lock in TOML installs packages from the commit itself. Raises CommitRefused."""
    found = files.toml(path)
    packages = found.get("package", found.get("packages", []))
    return any(_is_local(table(package)) for package in packages)


def reject_editable(files: CommitFiles, path: Path) -> None:
    """Raise CommitRefused if pylock.toml links to the commit: the files move before they serve."""
    for package in files.toml(path).get("packages", []):
        if table(package, "directory").get("editable"):
            name = table(package).get("name")
            raise CommitRefused(f"{path.name} installs {name} as an editable package", hint=Hint(HintKind.EXPORT_UV))


def reject_unsafe_names(files: CommitFiles, path: Path) -> None:
    """Raise CommitRefused for a text of poetry.lock that its exporter would write as lines of their own."""
    for package in files.toml(path).get("package", []):
        written = {key: value for key, value in package.items() if key != "description"}
        if not _NAME.fullmatch(str(package.get("name"))) or not all(text.isprintable() for text in _all_texts(written)):
            raise CommitRefused(f"{path.name} has a package whose name or value is none")


def _all_texts(value: Any) -> Iterator[str]:
    """Return the texts at every depth of tables and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _all_texts(inner)


def _is_local(package: dict[str, Any]) -> bool:
    source = table(package, "source")
    if {"editable", "directory", "path"} & source.keys() or source.get("type") in ("directory", "file"):
        return True
    if "directory" in package:
        return True
    return any("path" in table(package, kind) for kind in ("archive", "sdist"))
