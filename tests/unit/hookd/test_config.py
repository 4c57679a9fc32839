"""Reading the configuration: the problems of all files are reported at once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hookd.config import ConfigError, config_path, load, load_valid_apps

APP = """
repository = "ssh://git@example.org/acme/{name}.git"
full_name = "acme/{name}"
root = "/srv/{name}"
health.url = "http://127.0.0.1:8000/healthz"
"""


def write(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write configuration files and return the path of hookd.toml."""
    (directory / "apps").mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory / "hookd.toml"


def problems(path: Path) -> list[str]:
    """Return the problems without the directory of the files."""
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert str(raised.value).splitlines() == [str(problem) for problem in raised.value.problems]
    return [str(problem).replace(f"{path.parent}/", "") for problem in raised.value.problems]


def test_file_names_the_app(tmp_path: Path) -> None:
    files = {"hookd.toml": 'state = "/state"', "apps/shop.toml": APP.format(name="shop"), "apps/notes.txt": "no app"}
    config = load(write(tmp_path, files))
    assert config.settings.state == Path("/state")
    assert [app.name for app in config.catalogue.apps] == ["shop"]


@pytest.mark.promise(66)
def test_all_files_report_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "hookd.toml": 'states = "/state"\n[receiver]\nthreads = 0\n',
            "apps/Shop.toml": "",
            "apps/blog.toml": APP.format(name="blog").replace("/srv", "srv") + 'branch = "-x"\n',
            "apps/latin.toml": b'root = "/srv/caf\xe9"\n',
            "apps/torn.toml": "root = \n",
            "apps/wiki.toml": APP.format(name="wiki") + 'name = "other"\n',
        },
    )
    (path.parent / "apps" / "dir.toml").mkdir()
    absolute = "an absolute path without .., such as /var/lib/hookd"
    assert problems(path) == [
        "hookd.toml: receiver.threads: invalid value 0, expected 1 or more",
        "hookd.toml: states: unknown key, perhaps state is meant",
        "apps/Shop.toml: an app's file is named [a-z][a-z0-9-]{0,31}.toml",
        "apps/blog.toml: branch: invalid value '-x', expected a branch name that git accepts, such as main",
        f"apps/blog.toml: root: invalid value 'srv/blog', expected {absolute}",
        "apps/dir.toml: cannot be read: Is a directory",
        "apps/latin.toml: not UTF-8 text",
        "apps/torn.toml: not TOML: Invalid value (at line 1, column 8)",
        "apps/wiki.toml: name: unknown key, remove it because the file names the app",
    ]


def test_conflicting_apps_are_reported(tmp_path: Path) -> None:
    both = {f"apps/{name}.toml": APP.format(name="shop") + '[service]\nname = "web"\n' for name in ("shop", "blog")}
    assert problems(write(tmp_path, {"hookd.toml": "", **both})) == [
        "apps: blog and shop: one root lies in the other (/srv/shop)",
        "apps: blog and shop: the same service (web)",
    ]


def test_missing_file_is_reported(tmp_path: Path) -> None:
    assert problems(tmp_path / "hookd.toml") == ["hookd.toml: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "not UTF-8 text"),
        (b"state = ", "not TOML: Invalid value (at end of document)"),
        (b'state = "/a"\nstate = "/b"\n', "not TOML: Cannot overwrite a value (at line 2, column 13)"),
        (b"\x00", "not TOML: Invalid statement (at line 1, column 1)"),
    ],
)
def test_invalid_toml_names_the_place(tmp_path: Path, content: bytes, problem: str) -> None:
    assert problems(write(tmp_path, {"hookd.toml": content})) == [f"hookd.toml: {problem}"]


def test_missing_catalogue_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, {"hookd.toml": f'apps = "{tmp_path}/elsewhere"\n'})
    assert problems(path) == ["elsewhere: the catalogue cannot be read: No such file or directory"]


def test_host_without_apps(tmp_path: Path) -> None:
    (tmp_path / "hookd.toml").touch()
    assert load(tmp_path / "hookd.toml").catalogue.apps == ()


def test_apps_are_read_despite_invalid_settings(tmp_path: Path) -> None:
    path = write(tmp_path, {"hookd.toml": f'apps = "{tmp_path}/elsewhere"\nstate = "here"\n'})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "shop.toml").write_text(APP.format(name="shop") + "surprise = 1\n")
    assert [problem.split(":")[0] for problem in problems(path)] == ["hookd.toml", "elsewhere/shop.toml"]


def test_problem_hides_credentials(tmp_path: Path) -> None:
    wrong = APP.format(name="shop").replace("ssh://git@", "https://ada:hunter2@")
    [problem] = problems(write(tmp_path, {"hookd.toml": "", "apps/shop.toml": wrong}))
    assert problem.startswith(
        "apps/shop.toml: repository: invalid value 'https://***@example.org/acme/shop.git', expected "
    )


@pytest.mark.parametrize(
    ("given", "environment", "chosen"),
    [
        (None, {}, "/etc/hookd/hookd.toml"),
        (None, {"HOOKD_CONFIG": ""}, "/etc/hookd/hookd.toml"),
        (None, {"HOOKD_CONFIG": "/a.toml"}, "/a.toml"),
        (Path("/b.toml"), {"HOOKD_CONFIG": "/a.toml"}, "/b.toml"),
    ],
)
def test_configuration_file_precedence(given: Path | None, environment: dict[str, str], chosen: str) -> None:
    assert config_path(given, environment) == Path(chosen)


def test_app_chooses_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookd.config.DEFAULT", tmp_path / "none.toml")
    monkeypatch.setenv("HOME", str(tmp_path))

    def choices() -> list[str]:
        return [config_path(None, {}, app=app).parent.name for app in ("shop", "blog", "nobody", "")]

    def make(name: str) -> None:
        (tmp_path / ".hookd" / name).mkdir(parents=True)
        (tmp_path / ".hookd" / name / "hookd.toml").touch()

    make("blog")
    assert choices() == ["blog"] * 4
    make("shop")
    assert choices() == ["shop", "blog", tmp_path.name, tmp_path.name]
    assert config_path(None, {"HOOKD_CONFIG": "/a.toml"}, app="shop") == Path("/a.toml")
    assert config_path(Path("/b.toml"), {}, app="shop") == Path("/b.toml")


def test_configuration_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_path(Path("x.toml"), {}) == tmp_path / "x.toml"


def test_valid_apps_survive_an_invalid_one(tmp_path: Path) -> None:
    apps = {
        "apps/shop.toml": APP.format(name="shop"),
        "apps/blog.toml": APP.format(name="blog") + 'branch = "-x"\n',
        "apps/wiki.toml": APP.format(name="wiki") + 'name = "wiki"\n',
    }
    config, found = load_valid_apps(write(tmp_path, {"hookd.toml": "", **apps}))
    assert [app.name for app in config.catalogue.apps] == ["shop"]
    assert [(Path(problem.file).name, problem.path) for problem in found] == [
        ("blog.toml", "branch"),
        ("wiki.toml", "name"),
    ]
    assert config.app_names() == ["blog", "shop", "wiki"]


def test_invalid_settings_leave_no_apps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hookd\.toml: state"):
        load_valid_apps(write(tmp_path, {"hookd.toml": 'state = "here"', "apps/shop.toml": APP.format(name="shop")}))
