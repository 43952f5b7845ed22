"""What a deletion answers: which row went, and in a sentence what stays or ends with it. Deletes nothing."""

from dataclasses import dataclass

from models.db.store.deleting import Removed


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """`note` is empty where nobody else is touched."""

    id: str
    kind: str
    note: str = ""


def note_of(removed: Removed, thing: str) -> str:
    """What a person wants to know after "deleted"."""
    parts = []
    if removed.runs:
        parts.append(f"{thing} was used by {_count(removed.runs, 'run')}, which {_stay(removed.runs)}.")
    if made := removed.adapters + removed.merges:
        parts.append(f"{_made(removed)} {_stay(made)}.")
    if removed.links:
        parts.append(f"{_count(removed.links, 'link')} to it {'ends' if removed.links == 1 else 'end'} with it.")
    return " ".join(parts)


def _made(removed: Removed) -> str:
    words = [_count(count, noun) for count, noun in ((removed.adapters, "adapter"), (removed.merges, "merge")) if count]
    return f"{' and '.join(words)} made from it"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"
