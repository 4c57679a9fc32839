"""The file that lists an app's packages, in each kind of project."""

from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from hookd.model.hint import HintKind
from hookd.model.tables.build import Dependencies
from tests.support.releases import release
from worker.environment.source import DEFAULT_FILES, Source, read_source
from worker.errors import CommitRefused

PROJECT = "[project]\nname = 'shop'\nversion = '1'\n"
WORKSPACE = "[tool.uv.workspace]\nmembers = ['apps/*']\nexclude = ['apps/old']\n"
BUILD = "[build-system]\nrequires = ['hatchling']\n"
PDM = "[metadata]\nstrategy = ['inherit_metadata']\n"


def read(top: Path, directory: str = ".", **wants: Any) -> Source:
    return read_source(top, (top / directory).resolve(), Dependencies(**wants))


@pytest.mark.promise(65)
def test_order_of_default_files(tmp_path: Path) -> None:
    assert read(tmp_path).kind == "none"
    contents = {"setup.py": "", "setup.cfg": "", "pyproject.toml": PROJECT, "Pipfile.lock": "{}", "pdm.lock": PDM}
    for name in reversed(DEFAULT_FILES):
        release(tmp_path, {name: contents.get(name, "")})
        assert read(tmp_path).name == name
    assert read(tmp_path, file="requirements.txt").kind == "list"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"uv.lock": "", "pyproject.toml": PROJECT}, "uv"),
        ({"pylock.toml": ""}, "pylock"),
        ({"poetry.lock": "", "pyproject.toml": ""}, "poetry"),
        ({"pdm.lock": PDM}, "locked"),
        ({"Pipfile.lock": "{}"}, "locked"),
        ({"requirements.txt": "flask==1 --hash=sha256:00"}, "hashed"),
        ({"requirements.txt": "--require-hashes\nflask==1"}, "hashed"),
        ({"requirements.txt": "flask"}, "list"),
        ({"pyproject.toml": "[tool.poetry]\nname = 'x'"}, "project"),
        ({"pyproject.toml": "[tool.black]\nline-length = 100", "setup.cfg": ""}, "project"),
        ({"pyproject.toml": "[tool.black]\nline-length = 100"}, "none"),
    ],
)
def test_kinds_of_files(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert read(release(tmp_path, files)).kind == kind


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({"environment.yml": ""}, HintKind.FREEZE_PACKAGES),
        ({"environment.yaml": "", "pyproject.toml": "[tool.ruff]"}, HintKind.FREEZE_PACKAGES),
        ({"Pipfile": ""}, HintKind.LOCK_PIPENV),
        ({"requirements/base.txt": "", "requirements/prod.txt": ""}, HintKind.CHOOSE_FILE),
        ({"requirements-dev.txt": ""}, HintKind.CHOOSE_FILE),
        ({"pdm.lock": "", "requirements.txt": ""}, HintKind.EXPORT_PDM),
        ({"Pipfile.lock": "x", "requirements.txt": ""}, HintKind.EXPORT_PIPENV),
        ({"pylock.toml": "[[packages]]\nname='x'\n[packages.directory]\npath='.'\neditable=true"}, HintKind.EXPORT_UV),
        ({"pyproject.toml": PROJECT + "[tool.uv.sources]\nx = { path = 'x' }"}, HintKind.LOCK_UV),
    ],
)
def test_refused_projects_name_the_way_out(tmp_path: Path, files: dict[str, str], hint: HintKind) -> None:
    with pytest.raises(CommitRefused) as caught:
        read(release(tmp_path, files))
    assert caught.value.hint is not None
    assert getattr(caught.value.hint, "kind", None) is hint


def test_chosen_file(tmp_path: Path) -> None:
    release(tmp_path, {"requirements/prod.txt": "rq", "app/requirements/prod.txt": "flask"})
    assert read(tmp_path, "app", file="requirements/prod.txt").packages.lines == ["flask"]
    assert read(tmp_path, file="requirements/prod.txt").packages.lines == ["rq"]
    with pytest.raises(CommitRefused, match=r"the commit has no prod\.txt"):
        read(tmp_path, file="prod.txt")


def test_workspace_lock_lies_above(tmp_path: Path) -> None:
    files = {"uv.lock": "", "pyproject.toml": WORKSPACE, "apps/web/pyproject.toml": PROJECT}
    release(tmp_path / "repo", files)
    found = read(tmp_path / "repo", "apps/web")
    assert (found.file, found.directory) == (tmp_path / "repo/uv.lock", tmp_path / "repo/apps/web")
    assert read(tmp_path / "repo" / "apps", "web").kind == "project"


@pytest.mark.parametrize(
    ("top", "directory"),
    [
        (PROJECT, "apps/web"),
        (WORKSPACE, "apps/old"),
        (WORKSPACE, "examples/web"),
        (WORKSPACE.replace("*", "api"), "apps/web"),
    ],
    ids=["no workspace", "excluded", "no member", "another member"],
)
def test_foreign_lock_above(tmp_path: Path, top: str, directory: str) -> None:
    """The lock above an example or a tool says nothing about it."""
    release(tmp_path, {"uv.lock": "", "pyproject.toml": top, f"{directory}/pyproject.toml": PROJECT})
    assert read(tmp_path, directory).kind == "project"


def test_members_of_a_workspace_decide(tmp_path: Path) -> None:
    lock = "[[package]]\nname = 'core'\nsource = { editable = 'core' }\n"
    release(tmp_path, {"uv.lock": lock, "pyproject.toml": PROJECT, "core/pyproject.toml": "# one"})
    found = read(tmp_path)
    assert found.is_local
    release(tmp_path, {"core/pyproject.toml": "# two"})
    assert read(tmp_path).texts != found.texts


@pytest.mark.parametrize(
    ("files", "installs", "must"),
    [
        ({"pyproject.toml": PROJECT + BUILD}, True, False),
        ({"pyproject.toml": PROJECT}, False, False),
        ({"pyproject.toml": PROJECT + BUILD + "[tool.uv]\npackage = false"}, False, False),
        ({"pyproject.toml": "[tool.poetry]\npackage-mode = false\n" + BUILD, "poetry.lock": ""}, False, False),
        ({"pyproject.toml": PROJECT + BUILD, "requirements.txt": "", "src/shop/__init__.py": ""}, True, True),
        ({"setup.py": "", "requirements.txt": ""}, False, False),
        ({"setup.py": "", "requirements.txt": "", "src/shop/__init__.py": ""}, True, True),
        ({"setup.py": ""}, True, False),
        ({"setup.py": "", "requirements.txt": "-e .", "src/shop/__init__.py": ""}, False, False),
        ({"pyproject.toml": PROJECT + BUILD, "uv.lock": "", "src/shop/__init__.py": ""}, False, False),
    ],
)
def test_project_itself(tmp_path: Path, files: dict[str, str], installs: bool, must: bool) -> None:
    found = read(release(tmp_path, files))
    assert (found.project is not None, found.must_install) == (installs, must)


@pytest.mark.threat(75)
@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "-e .\n", "setup.py": ""},
        {"requirements.txt": "--no-binary :all:\nflask"},
        {"pyproject.toml": PROJECT + BUILD, "src/shop/__init__.py": ""},
        {"Pipfile.lock": '{"default": {"core": {"path": "."}}}'},
        {"requirements.txt": "-r https://a/list.txt\n"},
        {"requirements.txt": "", "uv.toml": "no-binary-package = ['six']"},
        {"requirements.txt": "", "pyproject.toml": "[tool.uv.pip]\nno-binary = ['six']"},
        {"requirements.txt": "", "app/uv.toml": "pip.no-binary = [':all:']"},
        {"pyproject.toml": PROJECT + "[tool.uv]\nno-binary = true", "uv.lock": ""},
        {"Pipfile.lock": '{"default": {"--no-binary evil": {"version": ""}}}'},
        {"Pipfile.lock": '{"default": {"./app": {"version": ""}}}'},
        {"Pipfile.lock": '{"default": {"evil": {"version": " @ ./app"}}}'},
    ],
)
def test_no_build_code_of_the_commit(tmp_path: Path, files: dict[str, str]) -> None:
    release(tmp_path, {"app/setup.py": "", **files})
    with pytest.raises(CommitRefused, match="build code"):
        read(tmp_path, "app" if "app/uv.toml" in files else ".", file=next(iter(files)), allow_build=False)


@pytest.mark.threat(75)
@pytest.mark.parametrize(
    "files",
    [
        {"Pipfile.lock": r'{"default": {"a": {"version": "==1\n--no-binary evil\n-e ./evil"}}}'},
        {"Pipfile.lock": r'{"default": {"a": {"version": "==1\n./evil"}}}'},
        {"Pipfile.lock": r'{"default": {"a": {"version": "==1", "markers": "x\u2028-e ./evil"}}}'},
        {"Pipfile.lock": r'{"default": {"a": {"version": "\ud800"}}}'},
        {"Pipfile.lock": r'{"_meta": {"sources": [{"url": "https://a\n-e ./evil"}]}, "default": {}}'},
        {"pdm.lock": PDM + "[[package]]\nname = 'a'\nversion = \"1\\n-e ./evil\"\ngroups = ['default']\n"},
        {"poetry.lock": "[[package]]\nname = '-e ./evil #'\nversion = '1'\n", "pyproject.toml": ""},
        {"poetry.lock": "[[package]]\nname = 'a'\nversion = \"1\\n-e ./evil\"\n", "pyproject.toml": ""},
        {"requirements.txt": "--pre -- -e ./evil\n"},
        {"requirements.txt": "-i 'https://a --no-binary evil'\n"},
        {"requirements.txt": "--find-links link\n"},
    ],
)
def test_hidden_lines_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    release(tmp_path, {"evil/setup.py": "", "x\n--no-binary evil/y.whl": "", **files})
    (tmp_path / "link").symlink_to("x\n--no-binary evil")
    with pytest.raises(CommitRefused, match=r"pip cannot read|whose name or value|build code"):
        read(tmp_path, file=next(iter(files)), allow_build=False)


@pytest.mark.parametrize("text", ["no-build = true", "pip.only-binary = [':all:']", "no-binary = false"])
def test_harmless_settings_without_builds(tmp_path: Path, text: str) -> None:
    assert read(release(tmp_path, {"requirements.txt": "", "uv.toml": text}), allow_build=False).kind == "list"


def test_flat_project_without_builds(tmp_path: Path) -> None:
    """The app is imported from its release."""
    assert read(release(tmp_path, {"pyproject.toml": PROJECT + BUILD}), allow_build=False).project is None


def test_linked_wheels_decide(tmp_path: Path) -> None:
    release(tmp_path, {"requirements.txt": "--find-links vendor\nx", "vendor/x.whl": "one"})
    first = read(tmp_path).texts
    release(tmp_path, {"vendor/x.whl": "two"})
    assert read(tmp_path).texts != first
    release(tmp_path, {"vendor/x.whl": "x" * (4 * 1024 * 1024 + 1)})
    assert read(tmp_path).texts != first, "wheels have no limit"


def test_settings_of_uv_decide(tmp_path: Path) -> None:
    release(tmp_path, {"requirements.txt": "x", "pyproject.toml": "[tool.black]\n"})
    assert read(tmp_path).settings == ()
    release(tmp_path, {"pyproject.toml": "[tool.uv]\nprerelease = 'allow'\n", "uv.toml": "offline = true\n"})
    assert len(read(tmp_path).settings) == 2


@pytest.mark.parametrize(
    ("text", "cause"), [("not toml", "is not TOML"), (b"\xff", "is not TOML"), ("[project]\ndependencies = 'x'", "")]
)
def test_invalid_project_file(tmp_path: Path, text: str, cause: str) -> None:
    release(tmp_path, {"pyproject.toml": text})
    if not cause:
        assert read(tmp_path).kind == "project", "uv names the fault"
        return
    with pytest.raises(CommitRefused, match=cause):
        read(tmp_path)


LONG_NAME = "x" * 300
MALFORMED = {
    "digits": {"pyproject.toml": f"x = {'9' * 5000}"},
    "nested": {"Pipfile.lock": "[" * 100_000},
    "digits in JSON": {"Pipfile.lock": f'{{"_meta": {"9" * 5000}}}'},
    "sources": {"Pipfile.lock": '{"_meta": {"sources": 3}}'},
    "number as path": {"Pipfile.lock": '{"default": {"a": {"path": 3}}}'},
    "NUL in path": {"Pipfile.lock": r'{"default": {"a": {"path": "a\u0000b"}}}'},
    "uv package": {"uv.lock": "package = 3", "pyproject.toml": PROJECT},
    "poetry package": {"poetry.lock": "package = 3", "pyproject.toml": ""},
    "poetry packages": {"poetry.lock": "package = [3]", "pyproject.toml": ""},
    "pdm package": {"pdm.lock": PDM.replace("[metadata]", "package = 3\n[metadata]")},
    "pylock packages": {"pylock.toml": "packages = 3"},
    "long file": {"requirements.txt": f"-r {LONG_NAME}"},
    "long place": {"requirements.txt": f"./{LONG_NAME}"},
    "NUL in name": {"requirements.txt": "-r a\0b"},
    "NUL in place": {"requirements.txt": "./a\0b"},
    "wheels in a file": {"requirements.txt": "--find-links setup.py", "setup.py": ""},
    "punycode": {"requirements.txt": "# coding: punycode\n\xff-e \0", "setup.py": ""},
    "loop": {"requirements.txt": "./loop"},
    "loop of lists": {"requirements.txt": "-r loop"},
    "loop in a lock": {"Pipfile.lock": '{"default": {"a": {"path": "loop"}}}'},
    "settings": {"uv.toml": f"x = {'9' * 5000}", "requirements.txt": ""},
}


@pytest.mark.threat(60)
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_list_refuses_the_commit(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CommitRefused) as caught:
        read(release(tmp_path, MALFORMED[name]))
    assert len(caught.value.cause) <= 500


def test_long_place_of_a_lock(tmp_path: Path) -> None:
    lock = f"[[package]]\nsource = {{ virtual = '{LONG_NAME}' }}\n"
    assert read(release(tmp_path, {"uv.lock": lock, "pyproject.toml": PROJECT})).kind == "uv"


SLOW = {
    "repeated wheels": {"requirements.txt": "--find-links w\n" * 5000, **{f"w/{n}.whl": "x" for n in range(500)}},
    "many wheels": {"requirements.txt": "--find-links w\n", **{f"w/{n}.whl": "x" for n in range(1001)}},
    "one project": {
        "uv.lock": "".join(f"[[package]]\nsource = {{ virtual = '{'a/../' * (n % 9)}b/..' }}\n" for n in range(3600)),
        "pyproject.toml": PROJECT + "#" * 1_000_000,
        **{f"{name}/x": "" for name in "ab"},
    },
    "one word": {"requirements.txt": f"-i {'a' * 4_000_000}"},
    "long words": {"requirements.txt": f"-i {'a' * 32_000}\n" * 120},
    "quoted words": {"requirements.txt": f"-i '{'a' * 500}'\n" * 4000},
    "many lines": {"requirements.txt": "a\n" * 1_000_000},
    "many options": {"requirements.txt": "-i a\n" * 1_000_000},
    "punycode": {"requirements.txt": "# coding: punycode\n" + "a" * 300_000 + "-" + "b9" * 300_000},
    "many members": {"pyproject.toml": "[tool.uv.workspace]\nmembers = [" + "'*a'," * 400_000 + "]", "app/uv.toml": ""},
}


@pytest.mark.threat(60)
@pytest.mark.parametrize("name", SLOW)
def test_slow_lists_take_no_time(tmp_path: Path, name: str) -> None:
    release(tmp_path, SLOW[name])
    start = process_time()
    with suppress(CommitRefused):
        found = read(tmp_path, "app" if "app/uv.toml" in SLOW[name] else ".")
        assert sum(map(len, found.texts)) < 8 * 1024 * 1024
    assert process_time() - start < 6, "the limits allow about half of that"


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("x @ git+ssh://git@host/x@v1", True),
        ('source = { git = "ssh://git@host/x" }', True),
        ('url = "git@host.example:acme/x.git"', True),
        ("x @ git+https://host/x.git@v1", False),
        ("flask", False),
    ],
)
def test_packages_by_ssh(tmp_path: Path, text: str, uses: bool) -> None:
    assert Source("list", None, tmp_path, (text.encode(),)).uses_ssh is uses
