"""`python -P -m worker.train.trained_rows`: which rows a run was trained on, worked out again from its settings.

Reads one JSON object from stdin: `rows` and `gates` are paths, one a source (a gate may be null), `wish` the run's
TrainingSpec. Prints `numbers`: for each source the row numbers, int64 little endian in base64. A process of its own:
the worker that asks never loads what trains.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from models.domain.errors import AppError, Code
from models.domain.training import TrainingSpec
from worker.train.bad_rows import BadRows
from worker.train.rows import read_candidates, select


def trained_rows(rows: list[Path], gates: list[Path | None], wish: TrainingSpec) -> list[Any]:
    """For each source the numbers of the rows that every epoch shows, in order; held-back ones are not among them."""
    data = wish.data
    candidates = [
        read_candidates(
            path, gate, data.rows, BadRows(), role="mixed" if place else "training", code=Code.INVALID_TRAINING_FILE,
            watch=lambda: None, objective=wish.objective.name,
        )
        for place, (path, gate) in enumerate(zip(rows, gates, strict=True))
    ]  # fmt: skip
    fraction = 0.0 if data.validation_file else data.validation_fraction
    chosen = select(candidates, data.rows, fraction=fraction, seed=wish.schedule.seed)
    return [one.numbers[selection.times > 0] for one, selection in zip(candidates, chosen, strict=True)]


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        found = trained_rows(
            [Path(one) for one in asked["rows"]], [Path(one) if one else None for one in asked["gates"]],
            TrainingSpec.model_validate(asked["wish"]),
        )  # fmt: skip
        answer = {"numbers": [base64.b64encode(one.astype("<i8").tobytes()).decode() for one in found]}
    except AppError as error:
        answer = {"error": error.to_json()}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
