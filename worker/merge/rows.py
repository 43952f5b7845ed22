"""The rows a merge is checked on: held-out conversations where there are any, plain questions besides.

Takes rows in the file's order until there are enough, so equal files give equal checks. Knows no models.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.domain.adapter import AdapterManifest
from models.domain.base_model import Shapes
from models.domain.errors import Invalid
from worker.data.render import Renderer
from worker.data.source import Source
from worker.merge.listen import Row

LOGIT_POSITIONS = 2048  # a correct bf16 merge has top-1 near 0.995: fewer positions would refuse some by chance
LOGIT_BYTES = 512 * 10**6  # of one model's kept logits
SHIFT_ANSWER_TOKENS = 2500  # a verdict needs 2,000; each costs a pass of two models
SHIFT_ROWS = 1000  # ... however short the answers are
LONGEST_ROW = 1024

QUESTIONS = (
    "What should I look at first when a bicycle brake squeaks?",
    "Write two sentences about a lighthouse in winter.",
    "How many minutes are there in a day, and how did you count them?",
    "Please explain to a child why the sea is salty.",
    "List three uses for an old newspaper.",
    "Translate into French: the train leaves at eight in the morning.",
    "Which is heavier, a litre of water or a litre of oil? Say why.",
    "Give me a short and polite reply to an invitation I cannot accept.",
    "What does the word 'ledger' mean?",
    "Name the planets in order of their distance from the sun.",
    "My tomato plants have yellow leaves. What might be wrong?",
    "Write a Python function that returns the larger of two numbers.",
    "Who wrote the play about the prince of Denmark?",
    "Turn this into a formal sentence: can't make it, sorry, car broke.",
    "What is the difference between weather and climate?",
    "Suggest a name for a small bakery and one line for its sign.",
    "How do I convert 20 degrees Celsius to Fahrenheit?",
    "Summarise in one line: the meeting was moved to Tuesday because the room was flooded.",
    "What are the opening hours, and whom do I ask about a refund?",
    "Describe the taste of a lemon without using the word sour.",
    "Is it safe to charge a phone overnight?",
    "Continue the story: the door had been locked for thirty years, until",
    "Why do leaves change colour in autumn?",
    "Give three rules for a good password.",
)


@dataclass(frozen=True, kw_only=True)
class RowsForChecks:
    for_logits: tuple[Row, ...]
    for_shift: tuple[Row, ...]
    """Held-out rows only, with answers."""


def rows_for_checks(base_dir: Path, heldout: Path, manifest: AdapterManifest) -> RowsForChecks:
    """Render what both checks need, in the base's template with the arguments the adapter was trained with."""
    shapes = Shapes.model_validate_json((base_dir / "shapes.json").read_text())
    renderer = Renderer.from_folder(base_dir)
    longest = min(shapes.context_length, LONGEST_ROW)
    shift: list[Row] = []
    if heldout.exists():
        for row in _heldout_rows(Source(heldout), renderer, longest, manifest):
            shift.append(row)
            if sum(each.answer_tokens for each in shift) >= SHIFT_ANSWER_TOKENS or len(shift) >= SHIFT_ROWS:
                break
    asked = _questions(renderer, longest, manifest)
    positions = min(LOGIT_POSITIONS, LOGIT_BYTES // (4 * shapes.vocabulary))
    return RowsForChecks(for_logits=_up_to(positions, [*shift, *asked]), for_shift=tuple(shift))


def _heldout_rows(source: Source, renderer: Renderer, longest: int, manifest: AdapterManifest) -> Iterator[Row]:
    """Rows that can be rendered and fit; the others were reported when the file was checked."""
    try:
        prepared = source.prepared()
    except Invalid:
        return
    for _, example in prepared.examples():
        try:
            rendered = renderer.render(example, max_length=longest, template_arguments=manifest.template_arguments)
        except Invalid:
            continue
        for sequence in rendered:
            row = Row(ids=sequence.ids, is_answer=sequence.trained)
            if row.answer_tokens:
                yield row


def _questions(renderer: Renderer, longest: int, manifest: AdapterManifest) -> list[Row]:
    asked = []
    for question in QUESTIONS:
        ids = renderer.prompt([{"role": "user", "content": question}], template_arguments=manifest.template_arguments)[
            :longest
        ]
        asked.append(Row(ids=ids, is_answer=[False] * len(ids)))
    return asked


def _up_to(positions: int, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The first rows that bring `positions` new positions together; at least one.

    A position counts once per context. Thirty rows that open with one system prompt would weigh each of its
    positions thirtyfold: one near-tie there moved top-1 of a correct merge from 0.996 to 0.984 (measured).
    """
    chosen: list[Row] = []
    for row in rows:
        shared = max((_common(row.ids, earlier.ids) for earlier in chosen), default=0)
        if shared == len(row.ids):
            continue
        chosen.append(replace(row, shared=shared))
        positions -= len(row.ids) - shared
        if positions <= 0:
            break
    return tuple(chosen)


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next((i for i, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), min(len(ids), len(others)))
