"""Splits rows into training and validation by group. Knows nothing of tokens, and draws no random numbers.

Rows that ask the same first question stay on one side: otherwise validation would measure memory.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from models.domain.example import Conversation, Example, Labelled, Preference, Role, Text


def split(
    rows: Sequence[tuple[int, Example]], fraction: float, seed: int
) -> tuple[list[tuple[int, Example]], list[tuple[int, Example]]]:
    """(training, validation), each in the order of `rows`; the same rows and seed give the same sides.

    Validation holds at most `fraction` of the rows, in whole groups; if a fraction is asked for and there are two
    groups, at least one of them. With fraction 0, or one group only, validation is empty.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, (_, example) in enumerate(rows):
        groups[group_of(example)].append(position)
    # The order depends on each group's own words, so that adding rows moves few others across.
    in_drawn_order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    chosen: set[int] = set()
    if fraction > 0 and len(groups) > 1:
        wanted = round(fraction * len(rows))
        for group in in_drawn_order:
            if len(chosen) + len(groups[group]) <= wanted:
                chosen.update(groups[group])
        if not chosen:
            chosen.update(groups[min(in_drawn_order, key=lambda group: len(groups[group]))])
    training = [row for position, row in enumerate(rows) if position not in chosen]
    return training, [rows[position] for position in sorted(chosen)]


def group_of(example: Example) -> str:
    """The first question (or the text) without case, punctuation and spacing: equal means the same group."""
    match example:
        case Conversation():
            asked = (turn.content for turn in example.turns if turn.role is Role.USER)
            text = next(asked, example.turns[0].content)
        case Text():
            text = example.text
        case Preference() | Labelled():
            turns = example.prompt or (example.chosen if isinstance(example, Preference) else example.completion)
            text = next((turn.content for turn in turns if turn.role is Role.USER), turns[0].content)
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(letter if letter.isalnum() else " " for letter in folded).split()
    # A question of signs alone ("?!") still has a group of its own.
    return " ".join(words) or folded.strip()
