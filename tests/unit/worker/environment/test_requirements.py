"""Requirements files: includes, and lines that would run code of the repository."""

from pathlib import Path

import pytest

from worker.errors import CommitRefused
from worker.release.requirements import read_requirements


def release(directory: Path, **files: str) -> Path:
    """Make a release with some files. `_` in a name stands for a dot."""
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)
    return directory


@pytest.mark.promise(65)
def test_order_of_default_files(tmp_path: Path) -> None:
    assert read_requirements(tmp_path, None).kind == "none"
    release(tmp_path, pyproject_toml="[project]\nname = 'x'\n")
    assert read_requirements(tmp_path, None).kind == "project"
    release(tmp_path, requirements_txt="flask\n")
    assert read_requirements(tmp_path, None).kind == "plain"
    release(tmp_path, requirements_txt="flask==1 --hash=sha256:00\n")
    assert read_requirements(tmp_path, None).kind == "hashed"
    release(tmp_path, uv_lock="version = 1\n")
    assert read_requirements(tmp_path, None).kind == "lock"
    assert read_requirements(tmp_path, "pyproject.toml").kind == "project"


def test_named_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CommitRefused, match=r"the commit has no prod\.txt"):
        read_requirements(release(tmp_path, requirements_txt="flask\n"), "prod.txt")


def test_lock_without_project(tmp_path: Path) -> None:
    with pytest.raises(CommitRefused, match=r"pyproject\.toml cannot be read: No such file"):
        read_requirements(release(tmp_path, uv_lock="version = 1\n"), None)


def test_project_beside_the_lock(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    release(tmp_path / "backend", uv_lock="version = 1\n", pyproject_toml="[project]\nname = 'inner'\n")
    release(tmp_path, pyproject_toml="[project]\nname = 'outer'\n")
    assert b"inner" in read_requirements(tmp_path, "backend/uv.lock").texts[1]


@pytest.mark.parametrize(
    "line",
    ["-r other.txt", "-rother.txt", "-r=other.txt", "--requirement other.txt", "--requirement=other.txt",
     "-c other.txt", "-cother.txt", "--constraint=other.txt", "  -r other.txt  # and why"],
)  # fmt: skip
def test_included_files(tmp_path: Path, line: str) -> None:
    release(tmp_path, requirements_txt=f"flask\n{line}\n", other_txt="redis\n-r deep.txt\n", deep_txt="rq\n")
    assert read_requirements(tmp_path, None).texts[1:] == (b"redis\n-r deep.txt\n", b"rq\n")


def test_include_path_is_relative(tmp_path: Path) -> None:
    (tmp_path / "req").mkdir()
    (tmp_path / "req" / "prod.txt").write_text("-r base.txt\n")
    (tmp_path / "req" / "base.txt").write_text("rq\n")
    assert read_requirements(tmp_path, "req/prod.txt").texts == (b"-r base.txt\n", b"rq\n")


@pytest.mark.parametrize("line", ["-r ../outside.txt", "-r /etc/hostname", "-r link.txt", "-r sub/../../outside.txt"])
def test_include_outside_the_commit(tmp_path: Path, line: str) -> None:
    (tmp_path / "outside.txt").write_text("secret\n")
    inside = tmp_path / "release"
    (inside / "sub").mkdir(parents=True)
    (inside / "link.txt").symlink_to("../outside.txt")
    with pytest.raises(CommitRefused, match="which is not in the commit"):
        read_requirements(release(inside, requirements_txt=line), None)


def test_include_itself(tmp_path: Path) -> None:
    with pytest.raises(CommitRefused, match="includes more than 50 files, or itself"):
        read_requirements(release(tmp_path, requirements_txt="-r requirements.txt\n"), None)


def test_included_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CommitRefused, match=r"other\.txt cannot be read: No such file"):
        read_requirements(release(tmp_path, requirements_txt="-r other.txt\n"), None)


ON_DISK = [
    "./pkg",
    "../pkg",
    "/srv/pkg",
    "~/pkg",
    "pkg/",
    "vendor/pkg",
    "file:./pkg",
    "file:///srv/pkg",
    "pkg @ file:./pkg",
    "pkg@file:./pkg",
    "pkg[extra] @ ./pkg",
    "pkg-1.0.tar.gz",
    "pkg-1.0.zip --hash=sha256:00",
]
BUILT = ["git+https://host/pkg", "pkg @ git+ssh://git@host/pkg@v1", "https://host/pkg-1.0.tar.gz"]
OPTIONS = ["-e ./pkg", "-e./pkg", "-e .", "--editable=./pkg", "--edit ./pkg", "--no-binary :all:", "--no-binary=pkg",
           "--config-settings=x=y pkg", "--global-option=x"]  # fmt: skip


@pytest.mark.threat(75)
@pytest.mark.parametrize("line", [*ON_DISK, *BUILT, *OPTIONS])
@pytest.mark.parametrize("where", ["requirements.txt", "included.txt"])
def test_reject_build_code(tmp_path: Path, line: str, where: str) -> None:
    release(tmp_path, requirements_txt="flask\n-r included.txt\n", included_txt="rq\n")
    with (tmp_path / where).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(CommitRefused, match=f"{where} (installs from the commit itself|uses -|would run the build)"):
        read_requirements(tmp_path, None)


@pytest.mark.parametrize("line", [*BUILT, "--no-binary=pkg"])
def test_allow_build(tmp_path: Path, line: str) -> None:
    assert read_requirements(release(tmp_path, requirements_txt=line), None, allow_build=True).kind == "plain"


@pytest.mark.parametrize("line", ON_DISK)
def test_reject_local_packages_with_allow_build(tmp_path: Path, line: str) -> None:
    with pytest.raises(CommitRefused, match="installs from the commit itself"):
        read_requirements(release(tmp_path, requirements_txt=line), None, allow_build=True)


ORDINARY = """
# a comment with -e ./pkg in it
--index-url https://index.example.org/simple
-i https://index.example.org/simple
--extra-index-url=https://index.example.org/simple
--find-links https://wheels.example.org/
--only-binary :all:
--require-hashes
flask==3.1.0 ; python_version >= "3.11" \\
    --hash=sha256:00 \\
    --hash=sha256:11
requests[security] >= 2.8.1, == 2.8.*  # why
rq<3
pkg @ https://host/pkg-1.0-py3-none-any.whl
other @ https://host/other-1.0-py3-none-any.whl#sha256=00
zope.interface
"""


def test_accept_ordinary_lines(tmp_path: Path) -> None:
    assert read_requirements(release(tmp_path, requirements_txt=ORDINARY), None).kind == "hashed"


@pytest.mark.parametrize(
    "text",
    [
        "[project]\ndependencies = ['./pkg']\n",
        "[project]\ndependencies = ['pkg @ file:./pkg']\n",
        "[project]\ndependencies = ['pkg']\n[tool.uv.sources]\npkg = { path = 'pkg', editable = true }\n",
        "[project]\ndependencies = ['pkg']\n[tool.uv.sources]\npkg = [{ workspace = true }]\n",
    ],
)
def test_reject_local_sources(tmp_path: Path, text: str) -> None:
    with pytest.raises(CommitRefused, match="from the commit itself"):
        read_requirements(release(tmp_path, pyproject_toml=text), None)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("not toml", "is not TOML"),
        ("project = 5", "has a project that is no table"),
        ("tool = 5", r"has a tool\.uv\.sources that is no table"),
        ("[project]\ndependencies = 'x'", "no list of texts"),
        ("[project]\ndependencies = [5]", "no list of texts"),
    ],
)
def test_reject_invalid_project_file(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(CommitRefused, match=cause):
        read_requirements(release(tmp_path, pyproject_toml=text), None)


@pytest.mark.parametrize(
    "text",
    [
        "-e ./evil\n".encode("utf-16"),
        "\ufeff-e ./evil\n".encode(),
        b"# -*- coding: utf-7 -*-\n+AC0-e ./evil\n",
        b"-r ${HOME}/more.txt\n",
        b'-r "more.txt"\n',
        b"-r file:///srv/more.txt\n",
        b"--pre -e ./evil\n",
        b"--\\\neditable ./evil\n",
        b"-r \\\nmore.txt\n",
        b"flask --global-option=x\n",
        b"--index-url http://host/${UV_CACHE_DIR}/\n",
        b"--find-links ./wheels\n",
        b"flask\x0b-e ./evil\n",
        b"flask\xc2\x85-e ./evil\n",
        b"-r more\x00.txt\n",
    ],
)
def test_reject_ambiguous_text(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "requirements.txt").write_bytes(text)
    (tmp_path / "more.txt").write_text("-e ./evil\n")
    with pytest.raises(CommitRefused):
        read_requirements(tmp_path, None)


def test_accept_hashes_on_continued_lines(tmp_path: Path) -> None:
    text = "encoding==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via flask\n"
    assert read_requirements(release(tmp_path, requirements_txt=text), None).kind == "hashed"
