"""A person agrees to a plan, edits the table that it makes, or stops."""

from dataclasses import replace

import click
import pytest

from hookd.model.plan import Plan
from hookd.variables import parse
from tests.unit.units.cli.plan.plans import ENTRY, PLACES, PLAN, typed
from units.apps.table.findings import with_findings
from units.cli.plan import agree, variables
from units.cli.plan.agree import Proposal, settle
from units.system.errors import Refused

PROPOSAL = Proposal(PLAN, lambda findings: with_findings({}, findings), PLACES, "hookd up")


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions be asked."""
    for module in (agree, variables):
        monkeypatch.setattr(module, "is_interactive", lambda: True)


def test_proposals_need_an_agreement() -> None:
    assert settle(PROPOSAL, "", yes=True, dry_run=False).findings == PLAN.findings
    assert settle(PROPOSAL, "", yes=False, dry_run=False).findings == (ENTRY,)


def test_dry_run_asks_nothing() -> None:
    agreed = settle(PROPOSAL, "# mine\n", yes=True, dry_run=True)
    assert (agreed.findings, agreed.variables) == (PLAN.findings, "# mine\n")


@pytest.mark.usefixtures("at_terminal")
def test_person_agrees_or_stops() -> None:
    agreed, _ = typed("y\n\nmail.example.org\n", settle, PROPOSAL, "", yes=False, dry_run=False)
    assert agreed.table(PROPOSAL.make_table) == PROPOSAL.make_table(PLAN.findings)
    assert parse(agreed.variables)["MAIL_SERVER"] == "mail.example.org"
    refused, output = typed("n\n", settle, PROPOSAL, "", yes=False, dry_run=False)
    assert refused is None and "Aborted" in output


@pytest.mark.usefixtures("at_terminal")
def test_person_edits_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["broken = \n", '[service]\nentry = "x:y"\n'])
    monkeypatch.setattr(click, "edit", lambda *_, **__: next(texts))
    agreed, _ = typed("e\ny\n\n\n", settle, PROPOSAL, "", yes=False, dry_run=False)
    assert agreed.table(PROPOSAL.make_table) == {"service": {"entry": "x:y"}}


@pytest.mark.parametrize(
    ("directories", "hint"),
    [
        ((), "hookd up --entry MODULE:CALLABLE"),
        (("web", "api"), "hookd up --directory web"),
        (("a;b #", "api"), "hookd up --directory 'a;b #'"),
    ],
)
def test_nothing_to_start_is_refused(directories: tuple[str, ...], hint: str) -> None:
    nothing = replace(PROPOSAL, plan=Plan("none", directories=directories))
    with pytest.raises(Refused) as caught:
        settle(nothing, "", yes=True, dry_run=False)
    assert caught.value.hint == hint
