"""Which rows of which dataset versions are trained on, how often in an epoch, and which are held back.

Decides by content and seeds alone, so that a resumed training decides the same. Knows no tokens and no base.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from models.domain.errors import Code, JobFailed
from models.domain.estimate import repeats_of, taken_rows
from models.domain.example import EXAMPLE
from models.domain.objectives import KIND_WORDS, KINDS_OF, Objective, misfit
from models.domain.reports import FoundRow
from models.domain.training import KeptTogether, RowsSpec
from worker.data.split import Chosen, Groups, drawn, group_number, group_of, held_back, joined
from worker.train.bad_rows import BadRows
from worker.train.near import near_groups
from worker.train.parquet import columns_of

Watch = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The usable rows of one source, by place: what they say (`contents`, `questions`), and their other groups.

    `near` and `column` are 0 for a row that stands in none. `rows` counts the unusable ones, too, `texts` the usable
    ones that are plain texts.
    """

    rows: int
    texts: int = 0
    numbers: NDArray[np.int64]
    contents: Groups
    questions: Groups
    near: Groups
    column: Groups

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """For each row of one source: how often an epoch sees it, and whether it is held back instead."""

    times: NDArray[np.int64]
    is_held_back: Chosen
    duplicates: int
    taken: int

    @property
    def used(self) -> int:
        """Rows to render."""
        return int((self.times > 0).sum() + self.is_held_back.sum())


def read_candidates(
    rows_file: Path,
    gate: Path | None,
    spec: RowsSpec,
    bad: BadRows,
    *,
    role: str,
    code: Code,
    watch: Watch,
    objective: Objective = Objective.SUPERVISED,
) -> Candidates:
    """Every prepared row once. Rows of stage 1 that cannot be used are counted in `bad`.

    Raises JobFailed with `code` for a dataset of no kind that the objective learns from, and for a column that no row
    has.
    """
    column = spec.column if spec.kept_together is KeptTogether.COLUMN and role != "validation" else None
    wanted = KINDS_OF[objective]
    rows, texts, others, known = 0, 0, dict.fromkeys(KIND_WORDS, 0), set[str]()
    numbers, contents, questions, values = (list[int]() for _ in range(4))
    names = ("number", "kind", "example", "sha", "problem", "field", "found", "needed")
    for number, kind, example, sha, problem, field, found, needed, cells in columns_of(rows_file, *names, "columns"):
        rows += 1
        if rows % 1000 == 0:
            watch()
        if example is None:
            bad.unreadable(FoundRow(row=number, field=field or "", found=found or "", needed=needed or ""), problem)
        elif kind not in wanted:
            others[kind] += 1
            bad.unreadable(FoundRow(row=number, found=f"one of {KIND_WORDS[kind]}", needed=_needed(wanted)), kind)
        else:
            numbers.append(number)
            texts += kind == "text"
            contents.append(int.from_bytes(sha[:8], "little"))
            questions.append(group_number(group_of(EXAMPLE.validate_json(example))))
            values.append(_value(cells, column, known) if column is not None else 0)
    if not numbers and (held := misfit(others, objective)) is not None:
        raise JobFailed(f"the {role} dataset {held}", code=code, param=f"{role}_file")
    if column is not None and role == "training" and numbers and not any(values):
        _refuse_column(column, known, code)
    return Candidates(
        rows=rows, texts=texts, numbers=np.array(numbers, dtype=np.int64), contents=np.array(contents, dtype=np.uint64),
        questions=np.array(questions, dtype=np.uint64), column=np.array(values, dtype=np.uint64),
        near=near_groups(gate, numbers),
    )  # fmt: skip


def select(sources: Sequence[Candidates], spec: RowsSpec, *, fraction: float, seed: int) -> list[Selection]:
    """Duplicates go, then rows are drawn from each source, then some of all drawn ones are held back.

    What is left is repeated by its source's weight: a held-back row counts once, however heavy its source.
    `seed` is the schedule's, for where the spec gives none.
    """
    split_seed = seed if spec.split_seed is None else spec.split_seed
    shuffle_seed = seed if spec.shuffle_seed is None else spec.shuffle_seed
    weights = [spec.weight, *(each.weight for each in spec.mixed)]
    caps = [spec.most_rows, *(None for _ in spec.mixed)]
    groups = _grouped(sources, spec.kept_together)
    repeated = _repeated(sources) if spec.drop_duplicates else [np.zeros(len(one), dtype=np.bool_) for one in sources]
    taken: list[Chosen] = []
    for place, copies in enumerate(repeated):
        is_taken = ~copies
        rows = np.flatnonzero(is_taken)
        count = taken_rows(len(rows), weights[place], caps[place])
        is_taken[rows[~drawn(groups[place][rows], count, shuffle_seed, f"take {place}")]] = False
        taken.append(is_taken)
    kept_out = _held_back_of(groups, taken, fraction, split_seed)
    selections = []
    for place, is_taken in enumerate(taken):
        learnt = np.flatnonzero(is_taken & ~kept_out[place])
        whole, more = repeats_of(weights[place], len(learnt))
        times = np.zeros(len(is_taken), dtype=np.int64)
        times[learnt] = whole
        times[learnt[drawn(groups[place][learnt], more, shuffle_seed, f"more {place}")]] += 1
        selections.append(
            Selection(
                times=times, is_held_back=kept_out[place], duplicates=int(repeated[place].sum()),
                taken=int(is_taken.sum()),
            )
        )  # fmt: skip
    return selections


def everything(source: Candidates) -> Selection:
    """All rows of a file of its own to validate with."""
    count = len(source)
    return Selection(
        times=np.zeros(count, dtype=np.int64), is_held_back=np.ones(count, dtype=np.bool_), duplicates=0, taken=count
    )


def _grouped(sources: Sequence[Candidates], kept_together: KeptTogether) -> list[Groups]:
    """The group of every row, of all sources together. Rows without a value or a near one go by their question."""
    questions = np.concatenate([one.questions for one in sources])
    if kept_together is KeptTogether.COLUMN:
        column = np.concatenate([one.column for one in sources])
        groups = np.where(column != 0, column, questions)
    elif kept_together is KeptTogether.NEAR_DUPLICATES:
        # Each source counts its near groups from one: they are told apart by the source's place.
        near = [np.where(one.near > 0, one.near * 16 + place, 0) for place, one in enumerate(sources)]
        groups = joined(questions, np.concatenate(near))
    else:
        groups = questions
    return np.split(groups, np.cumsum([len(one) for one in sources])[:-1])


def _repeated(sources: Sequence[Candidates]) -> list[Chosen]:
    """Which rows say exactly what an earlier one has said, in the same source or one before it."""
    contents = np.concatenate([one.contents for one in sources])
    first = np.unique(contents, return_index=True)[1]
    is_repeated = np.ones(len(contents), dtype=np.bool_)
    is_repeated[first] = False
    return np.split(is_repeated, np.cumsum([len(one) for one in sources])[:-1])


def _held_back_of(groups: Sequence[Groups], taken: Sequence[Chosen], fraction: float, seed: int) -> list[Chosen]:
    chosen = held_back(np.concatenate([one[rows] for one, rows in zip(groups, taken, strict=True)]), fraction, seed)
    found: list[Chosen] = []
    for rows in taken:
        own, chosen = chosen[: rows.sum()], chosen[rows.sum() :]
        flags = np.zeros(len(rows), dtype=np.bool_)
        flags[np.flatnonzero(rows)[own]] = True
        found.append(flags)
    return found


def _needed(kinds: Sequence[str]) -> str:
    return " or ".join(f"one of {KIND_WORDS[kind]}" for kind in kinds)


def _value(cells: str | None, column: str, known: set[str]) -> int:
    """The number of the row's value in `column`; 0 where it has none."""
    held = json.loads(cells) if cells else {}
    known.update(held)
    value = held.get(column)
    return 0 if value is None else group_number(f"{column}\0{value}") or 1


def _refuse_column(column: str, known: set[str], code: Code) -> NoReturn:
    others = ", ".join(sorted(known)[:12]) or "no column that its format does not read"
    raise JobFailed(
        f'no row of the training file has a value in a column "{column}" to stay together by; it has {others}. '
        "Choose another column, or keep rows together by their question.",
        code=code, param="data.rows.column",
    )  # fmt: skip
