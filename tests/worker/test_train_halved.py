"""What a second child of a claim does after the first one has run out of memory: the same steps, cut smaller."""

import shutil

import pytest

from models.domain.errors import AppError, Code
from tests.training import conversations, losses, training_job
from worker.jobdir import JobDir, newest_valid_checkpoint
from worker.stop import Stop
from worker.train.run import run

SETTINGS = {"rows": conversations(16), "epochs": 3, "save_every": 2}


class StopAfter(Stop):
    def __init__(self, jobdir: JobDir, steps: int):
        super().__init__()
        self._jobdir, self._steps = jobdir, steps

    def asked(self):
        return len(losses(self._jobdir)) >= self._steps


@pytest.mark.parametrize("steps", [0, 5])
def test_smaller_passes_go_on_with_the_same_steps_from_the_last_checkpoint(tmp_path, steps):
    control, job = (training_job(tmp_path / name, **SETTINGS) for name in ("control", "job"))
    run(control, Stop())
    if steps:
        run(job, StopAfter(job, steps))
    found = newest_valid_checkpoint(job.checkpoints)
    order = job.begin_again(f"checkpoints/{found[0].name}" if found else None)
    assert order.halvings == 1 and job.outcome() is None and not list(job.out.iterdir())
    outcome = run(job, Stop())
    assert outcome.status == "succeeded" and outcome.result["steps"] == 12
    assert losses(job) == pytest.approx(losses(control), rel=1e-4)


def test_what_was_halved_once_stays_so_when_another_worker_goes_on(tmp_path):
    first = training_job(tmp_path / "first", **SETTINGS)
    first.begin_again(None)
    run(first, StopAfter(first, 3))
    checkpoint, manifest = newest_valid_checkpoint(first.checkpoints)
    assert manifest.facts["micro_rows"] == 2
    second = training_job(tmp_path / "second", fence=2, resume_from=f"checkpoints/{checkpoint.name}", **SETTINGS)
    shutil.copytree(checkpoint, second.checkpoints / checkpoint.name)
    assert run(second, Stop()).status == "succeeded"
    assert newest_valid_checkpoint(second.checkpoints)[1].facts["micro_rows"] == 2


def test_where_one_row_is_all_there_is_halving_is_refused_with_advice(tmp_path):
    job = training_job(tmp_path, micro_batch_rows=1)
    job.begin_again(None)
    with pytest.raises(AppError) as caught:
        run(job, Stop())
    assert caught.value.code is Code.OUT_OF_MEMORY and "a single row of" in caught.value.message
