"""Build, check and release commands of real apps: what they write is right for the app afterwards."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, set_up_layer

_REQUIREMENTS: Final = "gunicorn\n"
# Counts its visits in SQLite. The health page does not write.
_VISITS: Final = """\
import sqlite3

VERSION = "{version}"

def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/healthz":
        return [b"ok"]
    db = sqlite3.connect("instance/shop.db")
    db.execute("create table if not exists visits (x)")
    db.execute("insert into visits (x) values (1)")
    db.commit()
    return [b"%s: %d" % (VERSION.encode(), db.execute("select count(*) from visits").fetchone()[0])]
"""
_MIGRATION: Final = """\
import sqlite3
db = sqlite3.connect("instance/shop.db")
db.execute("pragma journal_mode = wal")
db.execute("{sql}")
db.commit()
"""
_LOGGED: Final = """\
import logging
from logging.handlers import RotatingFileHandler
logging.getLogger().addHandler(RotatingFileHandler("logs/shop.log", maxBytes=10240, backupCount=3))
logging.warning("version {version} starts")

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"{version}"]
"""
# The shape of github.com/miguelgrinberg/microblog: a factory in a module of its own, a log file at import, Alembic's
# migrations, and a command of the app in the build.
_FACTORY: Final = """\
import os
import sqlite3
from logging.handlers import RotatingFileHandler

import click
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()

def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE_URL") or "sqlite:///app.db"
    db.init_app(app)
    Migrate(app, db)
    if not os.path.exists("logs"):
        os.mkdir("logs")
    app.logger.addHandler(RotatingFileHandler("logs/micro.log", maxBytes=10240))

    @app.cli.group()
    def translate():
        pass

    @translate.command()
    def compile():
        if os.system("pybabel compile -d translations"):
            raise RuntimeError("compile command failed")

    @app.route("/login")
    def login():
        columns = [row[1] for row in db.session.execute(db.text("pragma table_info(users)"))]
        db.session.execute(db.text("insert into users (id) values (null)"))
        db.session.commit()
        return f"{VERSION}: {','.join(columns)} {os.path.exists('translations/es/LC_MESSAGES/messages.mo')}"

    return app

"""
_CONFIGURE: Final = """\
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
with db.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=db.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION: Final = """\
import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = {before!r}

def upgrade():
    {step}
"""
_MICRO: Final = {
    "requirements.txt": "flask-migrate\nbabel\npython-dotenv\ngunicorn\n",
    ".flaskenv": "FLASK_APP=micro.py\n",
    "translations/es/LC_MESSAGES/messages.po": 'msgid ""\nmsgstr ""\n"Language: es\\n"\n\nmsgid "Hi"\nmsgstr "Hola"\n',
    "migrations/alembic.ini": "[alembic]\n",
    "migrations/env.py": _CONFIGURE,
    "migrations/versions/1.py": _REVISION.format(
        number="1", before=None, step='op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))'
    ),
}
_SECOND: Final = _REVISION.format(number="2", before="1", step='op.add_column("users", sa.Column("mail", sa.String))')


@pytest.fixture(scope="module")
def shops(servers: Servers) -> Iterator[dict[str, Shop]]:
    """A set-up server, and the apps that the tests add to it."""
    with servers.start(set_up_layer(servers)) as machine:
        yield {name: Shop(machine, name) for name in ("made", "moved", "logged", "half", "micro")}


def add(shop: Shop, *options: str, files: dict[str, str]) -> str:
    """Add an app with its first commit, without a deployment."""
    shop.repository.commit_and_push(files, "v1")
    url = shop.repository.url
    # As the first app of a host. Apps of other users are tested elsewhere.
    shop.allow_reading()
    command = ("app", "add", shop.name, "--repo", url, "--domain", shop.domain, "--no-deploy")
    return shop.hookd(*command, "--health", "/healthz", *options)


def ship(shop: Shop, version: str, files: dict[str, str]) -> dict[str, object]:
    """Push a commit and wait for the ending of its deployment."""
    return shop.ship(shop.repository.commit_and_push(files, version))


def edit(shop: Shop, key: str, value: object) -> None:
    """Change a key of the app."""
    shop.hookd("app", "edit", shop.name, "--set", f"{key}={json.dumps(value)}")


def visits(version: str, sql: str = "") -> dict[str, str]:
    """Return the files of an app that counts its visits, with a migration."""
    migration = {"migrate.py": _MIGRATION.format(sql=sql)} if sql else {}
    return {"wsgi.py": _VISITS.replace("{version}", version), "requirements.txt": _REQUIREMENTS, **migration}


def test_app_writes_what_a_migration_made(shops: dict[str, Shop]) -> None:
    shop = shops["made"]
    add(shop, "--data", "instance", files=visits("one", "create table if not exists visits (x)"))
    edit(shop, "release.commands", [["python", "migrate.py"]])
    shop.hookd("deploy", shop.name)
    assert shop.page() == "one: 1"
    second = ship(shop, "two", visits("two", "alter table visits add column y"))
    assert (second["status"], shop.page()) == ("succeeded", "two: 2")
    third = ship(shop, "three", visits("three", "alter table visits add column z"))
    assert (third["status"], shop.page()) == ("succeeded", "three: 3")


def test_migration_changes_what_the_app_made(shops: dict[str, Shop]) -> None:
    shop = shops["moved"]
    add(shop, "--data", "instance", files=visits("one"))
    shop.hookd("deploy", shop.name)
    assert shop.page() == "one: 1"
    edit(shop, "release.commands", [["python", "migrate.py"]])
    for number, column in enumerate(("two", "three"), 2):
        record = ship(shop, column, visits(column, f"alter table visits add column {column}"))
        assert (record["status"], shop.page()) == ("succeeded", f"{column}: {number}")


def test_log_file_opened_at_import(shops: dict[str, Shop]) -> None:
    """The check opens it first, and the service goes on writing it."""
    shop = shops["logged"]
    add(shop, "--data", "logs", files={"wsgi.py": _LOGGED.format(version="one"), "requirements.txt": _REQUIREMENTS})
    shop.hookd("deploy", shop.name)
    record = ship(shop, "two", {"wsgi.py": _LOGGED.format(version="two"), "requirements.txt": _REQUIREMENTS})
    assert (record["status"], shop.page()) == ("succeeded", "two")
    log = shop.machine.read(f"/var/lib/{shop.name}/logs/shop.log")
    assert log.count("one starts") > 1 and log.count("two starts") > 1


def test_half_migration_is_not_repeated(shops: dict[str, Shop]) -> None:
    shop = shops["half"]
    add(shop, "--data", "instance", files=visits("one"))
    shop.hookd("deploy", shop.name)
    edit(shop, "release.commands", [["python", "migrate.py"]])
    credit = "open('instance/credits', 'a').write('credited\\n')\nraise SystemExit('duplicate column')\n"
    bad = ship(shop, "two", {**visits("two"), "migrate.py": credit})
    assert bad["status"] == "failed"
    assert "duplicate column" in str(bad["cause"]) and "half migrated" in str(bad["cause"])
    shop.reconcile()
    shop.machine.wait_until(lambda: "quarantined" in shop.hookd("why", shop.name), 30, "the reconciliation")
    assert shop.machine.read(f"/var/lib/{shop.name}/instance/credits") == "credited\n"
    assert shop.page() == "one: 1"


def test_microblog_s_shape(shops: dict[str, Shop]) -> None:
    """Deploy, migrate, and roll back behind a migration that the old release does not know."""
    shop = shops["micro"]
    shop.machine.write("/root/micro.env", f"DATABASE_URL=sqlite:////var/lib/{shop.name}/instance/app.db\n", 0o600)
    options = ("--data", "instance", "--data", "logs", "--env-file", "/root/micro.env")
    add(shop, *options, files=micro("one"))
    edit(shop, "service.entry", "micro:app")
    edit(shop, "health.url", f"unix:/run/hookd-apps/{shop.name}-{{colour}}.sock:/login")
    edit(shop, "build.commands", [["flask", "translate", "compile"]])
    edit(shop, "release.commands", [["flask", "db", "upgrade"]])
    shop.hookd("deploy", shop.name)
    assert shop.page("/login") == "one: id True"
    record = ship(shop, "two", {**micro("two"), "migrations/versions/2.py": _SECOND})
    assert (record["status"], shop.page("/login")) == ("succeeded", "two: id,mail True")
    shop.hookd("rollback", shop.name)
    assert shop.page("/login") == "one: id,mail True"


def micro(version: str) -> dict[str, str]:
    """Return the files of an app of microblog's shape."""
    code = _FACTORY.replace("def create_app", f'VERSION = "{version}"\n\ndef create_app')
    return {**_MICRO, "micro.py": f"{code}app = create_app()\n"}
