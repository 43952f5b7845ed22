"""Which rows were added, removed and changed from one version's prepared rows to another's. Knows Parquet only."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.domain.example import EXAMPLE, Conversation, Example, Labelled, Preference, Text, Turn
from models.domain.preview import ChangedRow, Comparison
from worker.data.split import group_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

MOST_PAIRED = 20_000  # of the rows that differ, from each side: their questions are looked for on the other side
SHOWN_CHARACTERS = 1500
SHA_BYTES = 16


def compare(before: Path, after: Path, shown: int) -> Comparison:
    """Of usable rows, each as often as it stands there. Where more than MOST_PAIRED differ on a side, those beyond
    count as added or removed, whatever they ask."""
    import numpy as np
    import pyarrow.parquet as pq

    files = pq.ParquetFile(before), pq.ParquetFile(after)
    (numbers_before, shas_before), (numbers_after, shas_after) = _shas(files[0]), _shas(files[1])
    _, keys = np.unique(np.concatenate([shas_before, shas_after]), return_inverse=True)
    keys_before, keys_after = keys[: len(shas_before)], keys[len(shas_before) :]
    count = int(keys.max()) + 1 if len(keys) else 0
    times_before, times_after = np.bincount(keys_before, minlength=count), np.bincount(keys_after, minlength=count)
    gone = numbers_before[_ranks(keys_before) >= times_after[keys_before]]
    new = numbers_after[_ranks(keys_after) >= times_before[keys_after]]
    pairs = _pairs(_questions(before, gone), _questions(after, new))
    paired_before, paired_after = {number for number, _ in pairs}, {number for _, number in pairs}
    removed = [int(number) for number in gone if int(number) not in paired_before]
    added = [int(number) for number in new if int(number) not in paired_after]
    first: list[tuple[int | None, int | None]] = [
        *pairs[:shown], *((None, number) for number in added[:shown]), *((number, None) for number in removed[:shown])
    ]  # fmt: skip
    return Comparison(
        added=len(added),
        removed=len(removed),
        changed=len(pairs),
        same=int(np.minimum(times_before, times_after).sum()),
        shown=tuple(_shown(before, after, first[:shown])),
    )


def _shas(file: "pq.ParquetFile") -> tuple["NDArray[np.int64]", "NDArray[np.bytes_]"]:
    """Row numbers and content hashes of the usable rows, in order."""
    import numpy as np

    numbers: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    shas: list[bytes] = []
    for batch in file.iter_batches(columns=["number", "sha"], batch_size=65_536):
        batch = batch.filter(batch.column("sha").is_valid())
        numbers.append(batch.column("number").to_numpy())
        shas.append(b"".join(batch.column("sha").to_pylist()))
    return np.concatenate(numbers), np.frombuffer(b"".join(shas), dtype=f"S{SHA_BYTES}")


def _ranks(keys: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """For each row, how often its key stood there before."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    ranks = np.empty_like(keys)
    ranks[order] = np.arange(len(keys)) - starts
    return ranks


def _questions(path: Path, numbers: "NDArray[np.int64]") -> dict[str, list[int]]:
    """The first of these rows by what they ask."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, example in _examples(path, [int(number) for number in numbers[:MOST_PAIRED]]):
        found[f"{example.kind}:{group_of(example)}"].append(number)
    return found


def _pairs(before: dict[str, list[int]], after: dict[str, list[int]]) -> list[tuple[int, int]]:
    """Rows of one question, first with first, in the order of the later version."""
    pairs = [
        pair for question, rows in before.items() if question in after
        for pair in zip(rows, after[question], strict=False)
    ]  # fmt: skip
    return sorted(pairs, key=lambda pair: pair[1])


def _examples(path: Path, numbers: list[int]) -> Iterator[tuple[int, Example]]:
    """These rows, which are in order, and no other part of the file."""
    import numpy as np
    import pyarrow.parquet as pq

    if not numbers:
        return
    file, wanted = pq.ParquetFile(path), np.array(numbers)
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(0).statistics
        if not ((wanted >= statistics.min) & (wanted <= statistics.max)).any():
            continue
        table = file.read_row_group(group, columns=["number", "example"])
        mask = np.isin(table.column("number").to_numpy(), wanted)
        for row in table.filter(mask).to_pylist():
            yield row["number"], EXAMPLE.validate_json(row["example"])


def _shown(before: Path, after: Path, rows: list[tuple[int | None, int | None]]) -> Iterator[ChangedRow]:
    old = dict(_examples(before, sorted(number for number, _ in rows if number is not None)))
    new = dict(_examples(after, sorted(number for _, number in rows if number is not None)))
    for number_before, number_after in rows:
        lines_before = _lines(old[number_before]) if number_before is not None else []
        lines_after = _lines(new[number_after]) if number_after is not None else []
        while len(lines_before) > 1 and len(lines_after) > 1 and lines_before[0] == lines_after[0]:
            lines_before, lines_after = lines_before[1:], lines_after[1:]  # what both say alike at first
        yield ChangedRow(
            before=number_before, after=number_after,
            before_text=_cut("\n".join(lines_before)), after_text=_cut("\n".join(lines_after)),
        )  # fmt: skip


def _lines(example: Example) -> list[str]:
    match example:
        case Text():
            return [example.text]
        case Conversation():
            return [_line(turn) for turn in example.turns]
        case Preference():
            chosen, rejected = (
                [f"{name} {_line(turn)}" for turn in turns]
                for name, turns in (("chosen", example.chosen), ("rejected", example.rejected))
            )
            return [*map(_line, example.prompt), *chosen, *rejected]
        case Labelled():
            verdict = "good" if example.label else "bad"
            return [*map(_line, example.prompt), *(f"{verdict} {_line(turn)}" for turn in example.completion)]


def _line(turn: Turn) -> str:
    calls = "".join(f" [{call.name} {call.arguments}]" for call in turn.tool_calls)
    thought = f" ({turn.reasoning})" if turn.reasoning else ""
    return f"{turn.role}:{thought} {turn.content}{calls}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
