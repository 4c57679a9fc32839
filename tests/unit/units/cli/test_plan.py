"""The plan for a repository as a person sees it, and the questions about it."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from hookd.model.plan import Finding, Plan, Variable
from hookd.variables import parse
from units.cli import plan as shown
from units.system.errors import Refused

ENTRY = Finding("service.entry", "shop:app", "shop.py, line 3", proposed=False)
BUILD = Finding("build.commands", [["npm", "ci"], ["npm", "run", "build"]], "package.json", proposed=True)
WORKER = Finding("processes.worker", {"command": ["rq", "worker", "two words"]}, "Procfile, line 2", proposed=True)
KEY = Variable("SECRET_KEY", "config.py, line 4", needed=True, example=None, secret=True)
MAIL = Variable("MAIL_SERVER", "config.py, line 5", needed=True, example="localhost", secret=False)
DEBUG = Variable("DEBUG", "config.py, line 6", needed=False, example=None, secret=False)
FILE = Variable("DATABASE_URL", "config.py, line 7", needed=True, example="sqlite:///{shared}/data/x.db", secret=False)
OTHER = Variable("API_TOKEN", "config.py, line 8", needed=True, example=None, secret=True)
PLACES = shown.Places("/var/lib/shop", "shop.example.org")
PLAN = Plan("flask", (ENTRY, BUILD, WORKER), (KEY, MAIL, DEBUG), ("LFS files need git-lfs",), ())


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions be asked."""
    monkeypatch.setattr(shown, "is_interactive", lambda: True)


def table_of(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Return the table that a person may edit."""
    return {finding.key: finding.value for finding in findings}


def typed(text: str, call: Any, *arguments: Any, **options: Any) -> tuple[Any, str]:
    """Call a function of a command with typed text, and return its result and its output."""
    results: list[Any] = []

    @click.command()
    def command() -> None:
        results.append(call(*arguments, **options))

    done = CliRunner().invoke(command, input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return (results or [None])[0], done.output


def test_plan_names_sources_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    shown.show_plan("acme/shop", PLAN)
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert all(part in found["entry"] for part in ("shop:app", "shop.py, line 3", "--entry"))
    assert "npm ci && npm run build" in found["build"] and "--set build.commands=" in found["build"]
    assert "rq worker 'two words'" in found["worker"]
    assert "SECRET_KEY" in found and "DEBUG" not in found and "LFS files" in found["note:"]


def test_plan_leaves_out_given_keys(capsys: pytest.CaptureFixture[str]) -> None:
    shown.show_plan("acme/shop", PLAN, {"service.entry"})
    assert "shop:app" not in capsys.readouterr().out


def test_proposals_need_an_agreement() -> None:
    assert shown.agree(PLAN, table_of, yes=True).findings == PLAN.findings
    assert shown.agree(PLAN, table_of, yes=False).findings == (ENTRY,)


@pytest.mark.usefixtures("at_terminal")
def test_person_agrees_or_stops() -> None:
    agreed, _ = typed("y\n", shown.agree, PLAN, table_of, yes=False)
    assert (agreed.findings, agreed.table) == (PLAN.findings, None)
    refused, output = typed("n\n", shown.agree, PLAN, table_of, yes=False)
    assert refused is None and "Aborted" in output


@pytest.mark.usefixtures("at_terminal")
def test_person_edits_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["broken = \n", '[service]\nentry = "x:y"\n'])
    monkeypatch.setattr(click, "edit", lambda *_, **__: next(texts))
    agreed, _ = typed("e\ny\n", shown.agree, PLAN, table_of, yes=False)
    assert agreed.table == {"service": {"entry": "x:y"}}


@pytest.mark.usefixtures("at_terminal")
def test_needed_variables_are_asked_for() -> None:
    answers = "\nmail.example.org\n"
    text, output = typed(answers, shown.ask_variables, PLAN.variables, "# mine\n", {}, PLACES, yes=False)
    values = parse(text)
    assert values["MAIL_SERVER"] == "mail.example.org" and len(values["SECRET_KEY"]) > 30
    assert "DEBUG" not in output and values["SECRET_KEY"] not in output and text.startswith("# mine\n")
    known = {"SECRET_KEY", "MAIL_SERVER", "DATABASE_URL"}
    assert typed("", shown.ask_variables, PLAN.variables, "", known, PLACES, yes=False)[0] == ""


def test_yes_takes_the_suggestions() -> None:
    values = parse(shown.ask_variables((*PLAN.variables, FILE, OTHER), "", {"MAIL_SERVER"}, PLACES, yes=True))
    assert values == {"SECRET_KEY": values["SECRET_KEY"], "DATABASE_URL": "sqlite:////var/lib/shop/data/x.db"}


def test_script_gets_a_list_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown.ask_variables(PLAN.variables, "text", {}, PLACES, yes=False) == "text"
    shown.list_unset(PLAN.variables, {"MAIL_SERVER"}, "hookd env set shop {name}")
    printed = capsys.readouterr().out
    assert "not set: SECRET_KEY\n" in printed and "hookd env set shop SECRET_KEY" in printed


@pytest.mark.parametrize(
    ("plan", "hint"),
    [
        (Plan("none", (), (), (), ()), "hookd up --entry MODULE:CALLABLE"),
        (Plan("none", (), (), (), ("web", "api")), "hookd up --directory web"),
        (Plan("none", (), (), (), ("a;b #", "api")), "hookd up --directory 'a;b #'"),
    ],
)
def test_nothing_to_start_is_refused(plan: Plan, hint: str) -> None:
    with pytest.raises(Refused) as caught:
        shown.require_start(plan, {}, "hookd up")
    assert caught.value.hint == hint
