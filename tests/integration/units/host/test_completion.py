"""Shell completion as `./run install` sets it up: TAB after `hookd` shows commands and apps."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from units.host.install_code import COMPLETIONS

# Each script gets the words of the command line as arguments, and prints the completions of the last word.
SCRIPTS = {
    "bash": """
        source "$FILE"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _hookd_completion hookd
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { : }
        compadd() { print -l -- $completions }
        _describe() { print -l -- ${(P)3} }
        words=("$@") CURRENT=$#
        functions[_hookd]=$(<$FILE)
        _hookd
    """,
    "fish": """
        source $FILE
        complete --do-complete (string join ' ' -- $argv)
    """,
}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with the command `hookd` and the app shop."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "hookd.toml").touch()
    (tmp_path / "apps" / "shop.toml").write_text(
        'repository = "https://git.example.org/acme/shop.git"\nfull_name = "acme/shop"\n'
        'root = "/srv/shop"\n[health]\nurl = "http://127.0.0.1:8000/healthz"\n'
    )
    command = tmp_path / "bin" / "hookd"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m hookd.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("shell", "words", "completion"),
    [
        ("bash", ("hookd", "app", "ad"), "adopt"),
        ("bash", ("hookd", "status", "sh"), "shop"),
        ("zsh", ("hookd", "status", "sh"), "shop"),
        ("fish", ("hookd", "status", "sh"), "shop"),
    ],
)
def test_tab_completes_commands_and_apps(host: Path, shell: str, words: tuple[str, ...], completion: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here, on Debian: apt-get install {shell}")
    [file] = [file for file in COMPLETIONS if shell in str(file.path)]
    (host / "completion").write_text(file.text)
    name = [] if shell == "fish" else [shell]
    done = subprocess.run(
        [shell, "-c", SCRIPTS[shell], *name, *words],
        env={
            **os.environ,
            "PATH": f"{host / 'bin'}:{os.environ['PATH']}",
            "HOOKD_CONFIG": str(host / "hookd.toml"),
            "FILE": str(host / "completion"),
            "HOME": str(host),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completion in [line.split("\t")[0].split(":")[0] for line in done.stdout.splitlines()], done
