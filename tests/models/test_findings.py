"""Every kind of finding that the code can produce has words, and no words are left of kinds that are gone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from models.catalog.findings import FINDINGS, INTAKE, Weight, words_of
from models.catalog.formats.base import Problem

DATA = Path(__file__).parents[2] / "worker" / "data"
KIND = re.compile(r"[a-z][a-z0-9_]+")


def _named() -> Iterator[str]:
    """Kinds as the stages after the first write them: kind="...", .noted("..."), _vanished(..., "...")."""
    for path in DATA.rglob("*.py"):
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value.elts[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and node.value.elts
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            values = [keyword.value for keyword in call.keywords if keyword.arg == "kind" and name != "argsort"]
            values += call.args[:1] if name == "noted" else call.args[-1:] if name == "_vanished" else []
            for value in values:
                each = value.value if isinstance(value, ast.Starred) else value
                each = constants.get(each.id, each) if isinstance(each, ast.Name) else each
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.value


def test_every_problem_of_a_row_has_words_and_makes_it_unusable():
    assert set(INTAKE) == set(Problem)
    assert all(words.weight is Weight.UNUSABLE for words in INTAKE.values())


def test_every_kind_that_the_later_stages_name_has_words():
    named = set(_named())
    assert {"unrolled", "trained_in_part", "tools_vanish", "too_slow", "over_long", "nothing_trained"} <= named
    assert named - FINDINGS.keys() == set()


def test_no_words_are_left_of_kinds_that_are_gone():
    code = "\n".join(path.read_text() for path in DATA.rglob("*.py"))
    assert [kind for kind in FINDINGS.keys() - INTAKE.keys() if f'"{kind}"' not in code] == []


def test_words_are_whole_sentences():
    for kind, words in FINDINGS.items():
        assert KIND.fullmatch(kind), kind
        assert words.title[0].isupper() and not words.title.endswith("."), kind
        assert words.explained.endswith(".") and words.remedy.endswith("."), kind


def test_a_kind_of_another_version_is_shown_all_the_same():
    words = words_of("new_trouble")
    assert (words.title, words.weight) == ("New trouble", Weight.WARNING)
