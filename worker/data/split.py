"""Which rows stand together, which are held back and which are drawn. Knows neither tokens nor files.

Rows that ask the same first question stay on one side: otherwise validation would measure memory. Nothing is drawn by
a random generator: a mix of bits orders the groups, the same on every machine and in every version of a library.
"""

import hashlib
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.domain.example import Conversation, Example, Labelled, Preference, Role, Text

Groups = NDArray[np.uint64]  # one number a row; equal numbers are one group
Chosen = NDArray[np.bool_]  # one flag a row


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


def group_number(words: str) -> int:
    """64 bits for a group's words: two of a million groups meet by chance once in 30 million datasets."""
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")


def joined(groups: Groups, others: NDArray[Any]) -> Groups:
    """Groups that share a value of `others` (one a row, 0: none) become one, named by their smallest number.

    The smallest number of a group depends on its own rows alone, so that adding rows moves few others across.
    """
    parent: dict[int, int] = {}

    def top(group: int) -> int:
        while (above := parent.get(group, group)) != group:
            parent[group] = parent.get(above, above)
            group = above
        return group

    seen: dict[int, int] = {}
    for place in np.flatnonzero(others):
        group, other = int(groups[place]), int(others[place])
        one, two = top(group), top(seen.setdefault(other, group))
        if one != two:
            parent[max(one, two)] = min(one, two)
    if not parent:
        return groups
    names, places = np.unique(groups, return_inverse=True)
    return np.array([top(int(name)) for name in names], dtype=np.uint64)[places]


def held_back(groups: Groups, fraction: float, seed: int) -> Chosen:
    """Which rows validate; the same rows and seed give the same ones.

    At most `fraction` of the rows, in whole groups; if a fraction is asked for and there are two groups, at least one
    of them. With fraction 0, or one group only, none.
    """
    names, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if fraction <= 0 or len(names) < 2:
        return np.zeros(len(groups), dtype=np.bool_)
    order = np.lexsort((names, _mixed(names, f"split {seed}")))
    wanted, taken = round(fraction * len(groups)), 0
    chosen: list[int] = []
    for group in order:
        if taken + sizes[group] <= wanted:
            chosen.append(group)
            taken += int(sizes[group])
            if taken == wanted:
                break
    if not chosen:
        chosen = [order[np.argmin(sizes[order])]]
    return np.isin(places, chosen)


def drawn(groups: Groups, count: int, seed: int, purpose: str) -> Chosen:
    """`count` rows, group by group; of the last group its first rows. All of them where there are no more.

    Another `purpose` draws others with the same seed.
    """
    order = np.lexsort((np.arange(len(groups)), groups, _mixed(groups, f"{purpose} {seed}")))
    chosen = np.zeros(len(groups), dtype=np.bool_)
    chosen[order[:count]] = True
    return chosen


def _mixed(groups: Groups, salt: str) -> Groups:
    """An order of its own for each salt: the finaliser of SplitMix64 over the group's number and the salt."""
    mixed = groups + np.uint64(group_number(salt))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
