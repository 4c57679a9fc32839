"""Requirements files as pip reads them, and the plain list that uv gets."""

from pathlib import Path
from time import process_time

import pytest

from tests.support.releases import release
from worker.environment.commit_files import CommitFiles
from worker.environment.requirements import PackageList, logical_lines, read_package_list
from worker.errors import CommitRefused


def read(top: Path, name: str = "requirements.txt", directory: str = ".") -> PackageList:
    return read_package_list(CommitFiles(top), top / directory / name, top / directory)


@pytest.mark.parametrize(
    "line",
    ["-r other.txt", "-rother.txt", "--requirement other.txt", "--requirement=other.txt", "--requirem other.txt",
     "  -r other.txt  # and why", '-r "other.txt"', "-r \\\nother.txt"],
)  # fmt: skip
def test_included_files(tmp_path: Path, line: str) -> None:
    release(tmp_path, {"requirements.txt": f"flask\n{line}\n", "other.txt": "redis\n-r deep.txt\n", "deep.txt": "rq\n"})
    assert read(tmp_path).lines == ["flask", "redis", "rq"]


@pytest.mark.parametrize("line", ["-c limits.txt", "-climits.txt", "--constraint=limits.txt"])
def test_constraints_are_apart(tmp_path: Path, line: str) -> None:
    release(tmp_path, {"requirements.txt": f"flask\n{line}\n", "limits.txt": "-r deep.txt\n", "deep.txt": "flask<4\n"})
    found = read(tmp_path)
    assert (found.lines, found.constraints) == (["flask"], ["flask<4"])
    assert len(found.texts) == 3


def test_include_path_is_relative(tmp_path: Path) -> None:
    release(tmp_path, {"req/prod.txt": "-r base.txt\n", "req/base.txt": "rq\n"})
    assert read(tmp_path, "req/prod.txt").lines == ["rq"]


@pytest.mark.parametrize("line", ["-r ../outside.txt", "-r /etc/hostname", "-r link.txt", "-c sub/../../outside.txt"])
def test_include_outside_the_commit(tmp_path: Path, line: str) -> None:
    release(tmp_path, {"outside.txt": "secret\n", "in/requirements.txt": line, "in/sub/x": ""})
    (tmp_path / "in" / "link.txt").symlink_to("../outside.txt")
    with pytest.raises(CommitRefused, match="which is not in the commit"):
        read(tmp_path / "in")


def test_include_itself(tmp_path: Path) -> None:
    with pytest.raises(CommitRefused, match="or itself"):
        read(release(tmp_path, {"requirements.txt": "-r other.txt", "other.txt": "-r requirements.txt"}))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("packaging>=20, \\\n    <30\n", ["packaging>=20, <30"]),
        ("flask ; x == 'y' \\\n    # via click\nrq", ["flask ; x == 'y'", "rq"]),
        ("# Geocoding: places\n# pour\u00a0: rien\n  # ${TOKEN} -e ./x\nflask#x", ["flask#x"]),
        ("packaging\t>=20\t# why\n", ["packaging >=20"]),
        ("packaging\u00a0>=20\n", ["packaging >=20"]),
        ("flask\x0crq\x85redis\u2028six", ["flask", "rq", "redis", "six"]),
        ("flask==1 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n", ["flask==1 --hash=sha256:00 --hash=sha256:11"]),
        ("\\\n", []),
    ],
)
def test_logical_lines(text: str, lines: list[str]) -> None:
    assert list(logical_lines(text)) == lines


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("-e .", "{top}"),
        ("-e ./pkg[web]", "{top}/pkg[web]"),
        ("./pkg", "{top}/pkg"),
        ("pkg/", "{top}/pkg"),
        ("file:./pkg", "{top}/pkg"),
        ("core @ file:./pkg", "core @ file://{top}/pkg"),
        ("core[web]@./pkg", "core[web] @ file://{top}/pkg"),
        ("pkg/core-1.0.whl ; python_version > '3'", "{top}/pkg/core-1.0.whl ; python_version > '3'"),
        ("-e git+https://host/pkg@v1#egg=pkg", "git+https://host/pkg@v1#egg=pkg"),
        ("pkg @ git+ssh://git@host/pkg", "pkg @ git+ssh://git@host/pkg"),
        ("https://host/pkg-1.0.tar.gz", "https://host/pkg-1.0.tar.gz"),
        ("zope.interface", "zope.interface"),
        ("requests[security] >= 2.8.1, == 2.8.*", "requests[security] >= 2.8.1, == 2.8.*"),
    ],
)
def test_packages_of_the_commit(tmp_path: Path, line: str, plain: str) -> None:
    release(tmp_path, {"requirements.txt": line, "pkg/core-1.0.whl": ""})
    found = read(tmp_path)
    assert found.lines == [plain.format(top=tmp_path)]
    assert bool(found.local) == ("{top}" in plain)


@pytest.mark.threat(75)
@pytest.mark.parametrize(
    "line", ["../pkg", "-e ..", "/etc", "~/pkg", "x @ file:///croot/x", "./missing", "link", "--find-links /etc"]
)
def test_packages_outside_the_commit(tmp_path: Path, line: str) -> None:
    release(tmp_path, {"pkg/setup.py": "", "in/requirements.txt": line.replace("link", "./link", 1)})
    (tmp_path / "in" / "link").symlink_to("../pkg")
    with pytest.raises(CommitRefused, match=r"not in the commit|cannot read"):
        read(tmp_path / "in")


def test_options_are_kept(tmp_path: Path) -> None:
    text = "-i https://a/simple --extra-index-url https://b/simple\n--pre --trusted-host b\n-f vendor\n--no-binary x\n"
    release(tmp_path, {"requirements.txt": text + "--prefer-binary\nflask\n", "vendor/x.whl": ""})
    found = read(tmp_path)
    assert found.lines == [
        "--index-url https://a/simple",
        "--extra-index-url https://b/simple",
        f"--find-links {tmp_path}/vendor",
        "--no-binary x",
        "flask",
    ]
    assert found.options == ["--prerelease", "allow", "--allow-insecure-host", "b"]
    assert found.links == [tmp_path / "vendor"]


@pytest.mark.parametrize("line", ["--nonsense", "flask --global-option=x", "flask -C x=y", '-r "open', "--index-url"])
def test_lines_pip_cannot_read(tmp_path: Path, line: str) -> None:
    with pytest.raises(CommitRefused, match=r"requirements\.txt has"):
        read(release(tmp_path, {"requirements.txt": line}))


def test_variables_are_named(tmp_path: Path) -> None:
    text = "-i https://${USER_1}:${TOKEN}@host/simple\n# ${OTHER}\nflask"
    assert read(release(tmp_path, {"requirements.txt": text})).variables == {"USER_1", "TOKEN"}


@pytest.mark.parametrize("text", ["a" + " " * 200_000 + "b", "a" + "\t#" * 100_000, "a\\\n" * 200_000])
def test_long_lines_take_no_time(text: str) -> None:
    start = process_time()
    assert len(list(logical_lines(text))) == 1
    assert process_time() - start < 2
