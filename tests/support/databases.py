"""SQLite databases with two equal tables, and an app that writes both in each transaction."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.processes import wait_for

# Two tables that only differ inside of a transaction.
_WRITER = """
import sqlite3, sys, time
app = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
while True:
    app.execute("BEGIN IMMEDIATE")
    app.execute("INSERT INTO one (text) VALUES (hex(randomblob(2000)))")
    app.execute("INSERT INTO two (text) SELECT text FROM one ORDER BY id DESC LIMIT 1")
    app.execute("COMMIT")
    time.sleep(0.002)
"""


def make_database(path: Path, mode: str = "wal", rows: int = 50) -> Path:
    """Make a database with two equal tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as app:
        app.execute(f"PRAGMA journal_mode = {mode}")
        for table in ("one", "two"):
            app.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, text TEXT)")
            app.executemany(f"INSERT INTO {table} (text) VALUES (?)", [(str(n) * 100,) for n in range(rows)])
        app.commit()
    return path


def count_rows(path: Path) -> tuple[int, int]:
    """Return the rows of both tables of an intact database."""
    with closing(sqlite3.connect(path, timeout=60)) as app:
        assert app.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        one, two = (app.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("one", "two"))
        return one, two


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Write transactions in another process during the block, and fail the test if it cannot."""
    before = count_rows(path)[0]
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)]) as app:
        try:
            wait_for(lambda: count_rows(path)[0] > before, what="the first transaction")
            yield
            assert app.poll() is None, "the app could not write"
        finally:
            app.kill()
