"""That what the Train page says of memory is true of real trainings, each in a process of its own.

Two small ones here; `make bench-memory` measures dozens. Slack: a fork maps fewer of the libraries' pages than the
fresh process that the estimate is for.
"""

from pathlib import Path

import pytest

from models.catalog.training_memory import Machine, training_memory
from models.domain.base_model import Shapes
from models.domain.memory import Verdict, verdict_of
from models.domain.training import TrainingSpec
from tests.tiny import tiny_base
from tests.training import spawn, training_job

CPU = Machine(kind="cpu", compute_bytes=4)
ROW = {"messages": [{"role": "user", "content": "colour " * 40}, {"role": "assistant", "content": "red " * 3}]}
CASES = {
    "usual": {"micro_batch_rows": 4},
    "computed twice": {"micro_batch_rows": 4, "gradient_checkpointing": True},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("memory") / "base", hidden=128, layers=4)


@pytest.mark.parametrize("case", CASES)
def test_a_training_does_not_run_out_where_it_was_said_to_fit(case, base, tmp_path):
    rows = [{**ROW, "messages": [*ROW["messages"], {"role": "user", "content": str(number)}]} for number in range(10)]
    job = training_job(
        tmp_path / "job", base=base, rows=rows, steps=1, data={"max_length": 512, "sample_rows": 0}, **CASES[case]
    )
    assert spawn(job).wait() == 0
    outcome = job.outcome()
    assert outcome is not None and outcome.status == "succeeded"
    took = next(said.peak_memory_bytes for said in reversed(job.said_since(0)[0]) if said.type == "step")
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    needs = training_memory(TrainingSpec.model_validate(job.order().payload), shapes, CPU).total_bytes
    assert took is not None
    assert verdict_of(needs, 0.8 * took) is not Verdict.FITS
    assert verdict_of(needs, 2 * took) is not Verdict.TOO_MUCH
