"""Datasets in words: what a check found, what is wrong with a row, who wrote a turn. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.catalog.formats import FORMATS
from models.catalog.rows import RowProblem
from models.domain.dataset import Check, CheckState
from models.domain.example import Conversation, Example, Labelled, Preference, Role, Text, Turn
from webapp.views.markup import number

ROLES = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant", Role.TOOL: "Tool"}

SHOWN_CHARACTERS = 1500  # of one text, before "show all"
MOST_CHARACTERS = 200_000  # of one row
MOST_TURNS = 200


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A state as a shape, a word and a class of the stylesheet."""

    look: str
    shape: str
    word: str


def check_chip(check: Check, rows: int | None, usable_rows: int | None) -> Chip:
    match check.state:
        case CheckState.WAITING:
            return Chip(look="queued", shape="○", word="waiting to be checked")
        case CheckState.CHECKING:
            share = "" if check.share is None else f" {check.share:.0%}".replace("%", " %")
            return Chip(look="running", shape="◐", word=f"checking{share} ...")
        case CheckState.GOOD:
            return Chip(look="succeeded", shape="●", word="ready")
        case CheckState.WITH_PROBLEMS:
            bad = (rows or 0) - (usable_rows or 0)
            return Chip(look="warned", shape="▲", word=f"{number(bad)} row{'' if bad == 1 else 's'} left out")
        case CheckState.UNUSABLE:
            return Chip(look="failed", shape="✕", word="cannot be used")
        case CheckState.NOT_CHECKED:
            return Chip(look="cancelled", shape="–", word="not checked")


def share_words(share: float) -> str:
    """ "97.5 %", rounded down: never "100 %" while something is missing, never "0 %" of something."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{int(share * 1000) / 10:g} %"


def format_title(name: str | None) -> str:
    """The name without the list of its fields: "Alpaca"."""
    return FORMATS[name].title.partition(" (")[0] if name in FORMATS else (name or "")


def problem_sentence(problem: RowProblem) -> str:
    where = f'"{problem.field}" is ' if problem.field else ""
    return f"{where}{problem.found}; needed: {problem.needed}."


@dataclass(frozen=True, kw_only=True)
class Part:
    """A text of a row: its beginning, the rest behind "show all", and whether even that was cut."""

    label: str
    look: str
    begins: str
    rest: str = ""
    note: str = ""

    @property
    def length(self) -> int:
        return len(self.begins) + len(self.rest)


def parts_of(example: Example) -> tuple[list[Part], bool]:
    """The turns as labelled texts, and whether some were cut because there are too many."""
    left, parts = MOST_CHARACTERS, []
    for label, look, text, note in _texts(example):
        if left <= 0 or len(parts) == MOST_TURNS:
            return parts, True
        shown = text[:left]
        left -= len(shown)
        parts.append(
            Part(label=label, look=look, begins=shown[:SHOWN_CHARACTERS], rest=shown[SHOWN_CHARACTERS:], note=note)
        )
    return parts, left <= 0


def preview(example: Example, limit: int = 220) -> list[tuple[str, str]]:
    """The first question and the last answer, in one line each."""
    match example:
        case Text(text=text):
            return [("Text", _line(text, limit))]
        case Conversation(turns=turns):
            asked = next((turn for turn in turns if turn.role is Role.USER), turns[0])
            answered = next((turn for turn in reversed(turns) if turn.role is Role.ASSISTANT), turns[-1])
            shown = [asked] if asked is answered else [asked, answered]
            return [(ROLES[turn.role], _line(turn.content, limit)) for turn in shown]
        case Preference(chosen=chosen, rejected=rejected):
            return [("Chosen", _line(chosen[-1].content, limit)), ("Rejected", _line(rejected[-1].content, limit))]
        case Labelled(completion=completion, label=label):
            return [("Good" if label else "Not good", _line(completion[-1].content, limit))]


def size_words(example: Example) -> str:
    match example:
        case Text(text=text):
            return f"{number(len(text))} characters"
        case Conversation(turns=turns):
            return f"{len(turns)} turn{'' if len(turns) == 1 else 's'}"
        case Preference():
            return "2 answers"
        case Labelled():
            return "1 answer"


def _texts(example: Example) -> Iterator[tuple[str, str, str, str]]:
    """Label, look, text, note."""
    if isinstance(example, Text):
        yield "Text", "text", example.text, "every token is trained"
        return
    if example.tools:
        names = "\n".join(_tool_name(tool) for tool in example.tools)
        yield "Tools", "tool", names, f"{len(example.tools)} the model may call"
    match example:
        case Conversation(turns=turns):
            yield from _turns(turns)
        case Preference(prompt=prompt, chosen=chosen, rejected=rejected):
            yield from _turns(prompt)
            yield from _turns(chosen, "Chosen")
            yield from _turns(rejected, "Rejected")
        case Labelled(prompt=prompt, completion=completion, label=label):
            yield from _turns(prompt)
            yield from _turns(completion, "Found good" if label else "Found not good")


def _turns(turns: Sequence[Turn], part: str = "") -> Iterator[tuple[str, str, str, str]]:
    """`part` is what these turns are of a row that holds several answers."""
    for turn in turns:
        said = f"{ROLES[turn.role]} · {turn.name}" if turn.name else ROLES[turn.role]
        name = f"{part} · {said}" if part else said
        note = "not trained" if turn.role is Role.ASSISTANT and turn.weight == 0 else ""
        if turn.reasoning:
            yield f"{name}, thinking", "thinking", turn.reasoning, note
        if turn.content or not (turn.tool_calls or turn.reasoning):
            yield name, turn.role, turn.content, note
        for call in turn.tool_calls:
            yield f"{name} calls", "tool", f"{call.name}({_arguments(call.arguments)})", note


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    found = function.get("name") if isinstance(function, Mapping) else tool.get("name")
    return str(found or "tool without a name")


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _line(text: str, limit: int) -> str:
    flat = " ".join(text[: limit * 4].split())
    return flat[:limit] + ("…" if len(flat) > limit or len(text) > limit * 4 else "")
