"""Says where many training rows repeat each other, or their answers seem cut. Takes nothing away."""

from collections.abc import Sequence

import numpy as np

from models.catalog.findings import words_of
from models.domain.training import RowsSpec
from worker.data.gate.answers import Answers
from worker.train.rows import Candidates

WORTH_SAYING = 0.05


def repeat_remarks(sources: Sequence[Candidates], spec: RowsSpec) -> list[str]:
    """One sentence where at least one row in twenty repeats an earlier one and duplicates are not left out."""
    contents = np.concatenate([one.contents for one in sources])
    repeated = len(contents) - len(np.unique(contents))
    if spec.drop_duplicates or not repeated or repeated < WORTH_SAYING * len(contents):
        return []
    return [
        f"{repeated:,} of {len(contents):,} rows say exactly what an earlier row says and so weigh more than others. "
        "Leave duplicates out, if that is not meant."
    ]


def cut_remarks(answers: Answers, rows: int) -> list[str]:
    """One sentence where the longest answers end in the middle of a sentence."""
    cut = answers.cut
    if not cut:
        return []
    words = words_of("answer_cut")
    return [f"{words.title} ({len(cut):,} of {rows:,} rows, the first is row {cut[0]}): {words.explained}"]
