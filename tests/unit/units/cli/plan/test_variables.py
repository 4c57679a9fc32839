"""Questions about the variables of an app."""

import pytest

from hookd.variables import parse
from tests.unit.units.cli.plan.plans import FILE, OTHER, PLACES, PLAN, typed
from units.cli.plan import variables
from units.cli.plan.variables import ask_variables, list_unset


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions be asked."""
    monkeypatch.setattr(variables, "is_interactive", lambda: True)


@pytest.mark.usefixtures("at_terminal")
def test_needed_variables_are_asked_for() -> None:
    answers = "\nmail.example.org\n"
    text, output = typed(answers, ask_variables, PLAN.variables, "# mine\n", PLACES, yes=False)
    values = parse(text)
    assert values["MAIL_SERVER"] == "mail.example.org" and len(values["SECRET_KEY"]) > 30
    assert "DEBUG" not in output and values["SECRET_KEY"] not in output and text.startswith("# mine\n")
    known = "SECRET_KEY=a\nMAIL_SERVER=b\n"
    assert typed("", ask_variables, PLAN.variables, known, PLACES, yes=False)[0] == known


def test_yes_takes_the_suggestions() -> None:
    values = parse(ask_variables((*PLAN.variables, FILE, OTHER), "MAIL_SERVER=x\n", PLACES, yes=True))
    assert len(values.pop("SECRET_KEY")) > 30
    assert values == {"MAIL_SERVER": "x", "DATABASE_URL": "sqlite:////var/lib/shop/data/x.db"}


def test_script_gets_a_list_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_variables(PLAN.variables, "# text\n", PLACES, yes=False) == "# text\n"
    list_unset(PLAN.variables, "MAIL_SERVER=x\n", "hookd env set shop {name}")
    printed = capsys.readouterr().out
    assert "not set: SECRET_KEY\n" in printed and "hookd env set shop SECRET_KEY" in printed
