"""Builds tiny Python packages, so that installers work with real files and ask no index."""

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path


def make_wheel(directory: Path, name: str, version: str = "1.0", code: str = "", requires: Sequence[str] = ()) -> Path:
    """Write a pure Python wheel of one module and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n{code}",
        f"{info}/METADATA": _metadata(name, version, requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_record_hash(text)},{len(text.encode())}\n" for path, text in files.items())
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(inside, text)
    return path


# A build backend inside the package: nothing has to be fetched to run it, and it leaves a trace where it ran.
_BACKEND = """
import pathlib, sys
sys.path.insert(0, {project!r})
from tests.support.wheels import make_wheel
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(directory, config_settings=None, metadata_directory=None):
    pathlib.Path({trace!r}).write_text("the build code ran")
    return make_wheel(pathlib.Path(directory), {name!r}, {version!r}).name
"""
_PYPROJECT = """
[project]
name = "{name}"
version = "{version}"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def source_files(name: str, trace: Path, version: str = "1.0") -> dict[str, str]:
    """Return the files of a package whose build writes a trace."""
    project = str(Path(__file__).resolve().parents[2])
    return {
        "pyproject.toml": _PYPROJECT.format(name=name, version=version),
        "backend.py": _BACKEND.format(project=project, trace=str(trace), name=name, version=version),
        "PKG-INFO": _metadata(name, version, ()),
    }


def make_sdist(directory: Path, name: str, trace: Path, version: str = "1.0") -> Path:
    """Write a source distribution and return its path. Its build writes the trace."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inside, text in source_files(name, trace, version).items():
            member = tarfile.TarInfo(f"{name}-{version}/{inside}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def hash_of(file: Path) -> str:
    """Return the hash of a file as requirements files write it."""
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def _metadata(name: str, version: str, requires: Sequence[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {item}" for item in requires)]) + "\n"


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
