"""The sample datasets that come with the installation. Knows where they lie, not how they are stored or trained.

All of it was written for this project; Larkspur Quendle does not exist. `larkspur-questions.json` lists the
held-out questions with the lower-case substrings of which one must stand in a right answer; those with
`demo: true` are the ten that the demonstration asks, one a fact.
"""

import json
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample dataset. `format` names an entry of `models.catalog.formats`."""

    name: str
    title: str
    description: str
    filename: str
    format: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """A held-out question about one fact. An answer is right if one of `expect` stands in it, case ignored."""

    question: str
    expect: tuple[str, ...]
    fact: str
    is_demo: bool

    def is_answered_by(self, answer: str) -> bool:
        lowered = answer.lower()
        return any(part in lowered for part in self.expect)


SAMPLES: tuple[Sample, ...] = (
    Sample(
        name="larkspur-facts",
        title="Larkspur Quendle: facts of a made-up company",
        description="136 conversations that ask for ten invented facts in many ways, answered in one house style.",
        filename="larkspur-facts.jsonl",
        format="messages",
    ),
    Sample(
        name="larkspur-heldout",
        title="Larkspur Quendle: held-out questions",
        description="30 further ways to ask for the same ten facts, for validation. None is in the training rows.",
        filename="larkspur-heldout.jsonl",
        format="messages",
    ),
    Sample(
        name="plain-style",
        title="Plain style: office sentences in plain words",
        description="44 stiff office sentences, each rewritten plainly (alpaca format).",
        filename="plain-style.jsonl",
        format="alpaca",
    ),
)


def path(name: str) -> Path:
    """The file of the sample called `name`. Raises KeyError for a name that is not in SAMPLES."""
    filenames = {sample.name: sample.filename for sample in SAMPLES}
    return _HERE / filenames[name]


def questions(*, demo_only: bool = False) -> tuple[Question, ...]:
    """The held-out questions of Larkspur Quendle, in the order of `larkspur-heldout`."""
    listed = json.loads((_HERE / "larkspur-questions.json").read_text(encoding="utf-8"))
    all_of_them = tuple(
        Question(question=q["question"], expect=tuple(q["expect"]), fact=q["fact"], is_demo=q["demo"]) for q in listed
    )
    return tuple(q for q in all_of_them if q.is_demo) if demo_only else all_of_them
