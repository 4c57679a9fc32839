"""Seconds of one look at many apps, each at its own git repository, beside bare `git ls-remote`, as many at once."""

import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import first_line, machine, options, table, times
from tests.support.installation import Installation, app_files
from tests.support.processes import python
from tests.support.repository import Repository
from tests.support.signatures import SECRET
from tests.support.toml_tables import toml

# As many as worker.reconcile asks side by side.
_AT_ONCE: Final = 8


def main() -> None:
    """Reconcile all apps, poll all repositories without hookd, in turn, and print the table."""
    parser = options(__doc__)
    parser.add_argument("--apps", type=int, default=1000)
    given = parser.parse_args()
    count = 5 if given.once else given.apps
    with tempfile.TemporaryDirectory(prefix="hookd-bench-") as name, Installation(Path(name)) as site:
        site.write_config()
        urls = _catalogue(site, count)
        site.start_redis()
        bare = _bare(urls)
        first, again = _look(site), _look(site)
    print(f"{count} apps, {_AT_ONCE} asked at once, from repositories on the same disk; none was deployed yet, so what")
    print("one question to systemd for each app takes is not in it\n")
    rows = [
        ("git ls-remote", f"{bare:.1f}", times(bare, bare)),
        ("hookd reconcile, the first look", f"{first:.1f}", times(first, bare)),
        ("hookd reconcile, nothing new", f"{again:.1f}", times(again, bare)),
    ]
    print(table(("way", "seconds", "ratio"), rows))
    print()
    print(machine("redis", git=first_line("git", "--version").split()[-1]))


def _catalogue(site: Installation, count: int) -> list[str]:
    """Give each of many apps a repository of its own, all alike."""
    first = Repository(site.directory / "first")
    first.commit_and_push(app_files("one"))
    urls = []
    for number in range(count):
        app, remote = f"app-{number}", site.directory / "remotes" / f"{number}.git"
        shutil.copytree(first.url.removeprefix("file://"), remote)
        urls.append(f"file://{remote}")
        entry = {
            "repository": urls[-1],
            "full_name": f"acme/{app}",
            "root": site.directory / "srv" / app,
            "health": {"url": "http://127.0.0.1:8000/healthz"},
        }
        (site.directory / "apps" / f"{app}.toml").write_text(toml(entry))
        (site.directory / "secrets" / app).write_text(SECRET)
    return urls


def _bare(urls: list[str]) -> float:
    """Ask each repository for its branch, as a shell script would."""

    def ask(url: str) -> None:
        subprocess.run(("git", "ls-remote", url, "refs/heads/main"), check=True, capture_output=True, timeout=60)

    started = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(ask, urls))
    return time.monotonic() - started


def _look(site: Installation) -> float:
    """Reconcile every app once, as `hookd reconcile` does, and end the program on a failure."""
    command, started = python("-P", "-m", "worker.reconcile", "--now"), time.monotonic()
    done = subprocess.run(command, env=site.environment, capture_output=True, text=True, timeout=1800, check=False)
    seconds = time.monotonic() - started
    found = done.stdout.count(": waiting: ")
    if done.returncode or found != len(site.config.catalogue.apps):
        raise SystemExit(f"looked at {found} apps only: {done.stderr[-1000:]}")
    return seconds


if __name__ == "__main__":
    main()
