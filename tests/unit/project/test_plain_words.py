"""Docstrings are plain: a verb and its object, one thought per sentence.

It counts the docstrings of all modules, classes and functions of hookd/, worker/, units/, tests/ and bench/. Three
rules hold for each:

1. The first word of a function is a verb in the imperative. A property, a fixture, a class and a module may begin with
   a noun, and so may a test, because its docstring describes a case.
2. No first word is a question word, "that", "tell" or "say", and none is a person without a role.
3. There is no semicolon outside of code between backticks.

An article, a pronoun and a preposition are no verbs, and neither is a third person or a participle.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import PROJECT

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

ROOMS: Final = ("hookd", "worker", "units", "tests", "bench")
FILES: Final = sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))
RIDDLES: Final = frozenset(
    "what whatever who whoever whose where wherever whether that tell say how why which nobody somebody".split()
)
NO_VERBS: Final = frozenset(
    "a an the this these those every each all both one two some any no not none it its he she they as at by for from "
    "in of on to with without after before until while when if only also more most several nothing everything".split()
)
# Verbs that look like another form.
VERBS: Final = frozenset("pass process address compress access need proceed feed bring ping embed".split())
PROPERTIES: Final = frozenset({"property", "cached_property", "fixture"})


def first_word(docstring: str) -> str:
    """Return the first word in lower case, without quotes and backticks."""
    word = re.search(r"[A-Za-z']+", docstring)
    return word[0].lower() if word else ""


def is_verb(word: str) -> bool:
    return word in VERBS or not (word in NO_VERBS or re.search(r"(?:[^s]s|ing|ed)$", word))


def is_property(node: ast.AST) -> bool:
    names = [ast.unparse(one).split("(")[0].rpartition(".")[2] for one in getattr(node, "decorator_list", ())]
    return not PROPERTIES.isdisjoint(names)


def is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def problems(node: Documented, docstring: str) -> Iterator[str]:
    """Find the broken rules of a docstring."""
    word = first_word(docstring)
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    needs_verb = is_function and not is_property(node) and not is_test(node)
    if word in RIDDLES:
        yield f"begins with {word!r}"
    elif needs_verb and not is_verb(word):
        yield f"begins with {word!r}, which is no verb"
    if ";" in re.sub(r"`[^`]*`", "", docstring):
        yield "has a semicolon"


def problems_of(path: Path) -> Iterator[str]:
    """Find the broken rules of a file, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)):
            place = f"{path.relative_to(PROJECT)}:{getattr(node, 'lineno', 1)}"
            yield from (f"{place}: {problem}: {docstring.splitlines()[0]}" for problem in problems(node, docstring))


def test_docstrings_are_plain() -> None:
    lines = [problem for path in FILES for problem in problems_of(path)]
    assert not lines, f"{len(lines)} docstrings are not plain:\n" + "\n".join(lines)


def test_names_of_tests_are_short() -> None:
    """A name has two to six words, and the docstring has the rest."""
    names = [
        f"{path.relative_to(PROJECT)}: {node.name}"
        for path in (PROJECT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and is_test(node) and not 2 <= node.name.count("_") <= 6
    ]
    assert names == []


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ('def f():\n    """Tell whether it lives."""', "begins with 'tell'"),
        ('def f():\n    """What a person types."""', "begins with 'what'"),
        ('def f():\n    """The directories that are there."""', "begins with 'the', which is no verb"),
        ('def f():\n    """Reads a file."""', "begins with 'reads', which is no verb"),
        ('def f():\n    """Return a file; raises OSError."""', "has a semicolon"),
        ('"""Whether what should answer does."""', "begins with 'whether'"),
        ('class A:\n    """Whoever froze an app."""', "begins with 'whoever'"),
        ('def test_a():\n    """What a person sees."""', "begins with 'what'"),
    ],
)
def test_each_rule_finds_its_case(code: str, problem: str) -> None:
    (node,) = (one for one in ast.walk(ast.parse(code)) if isinstance(one, Documented) and ast.get_docstring(one))
    assert list(problems(node, ast.get_docstring(node) or "")) == [problem]


@pytest.mark.parametrize(
    "code",
    [
        'def f():\n    """Return `a;b` and pass it on."""',
        '@property\ndef f():\n    """The deployed commit."""',
        'class A:\n    """A release on the disk."""',
        'def f():\n    """`git fetch` the branch."""',
        'def test_a():\n    """The old release serves on."""',
    ],
)
def test_plain_docstrings_pass(code: str) -> None:
    (node,) = (one for one in ast.walk(ast.parse(code)) if isinstance(one, Documented) and ast.get_docstring(one))
    assert not list(problems(node, ast.get_docstring(node) or ""))
