"""R9: a training killed with -9 three times equals one that was never interrupted, bit by bit.

Dropout 0.1, two forward passes a step, three epochs, one thread; the same losses and the same adapter bytes.
"""

import json
import shutil
import time

import pytest

from models.domain.errors import AppError, Code
from tests.sources import write_source
from tests.tiny import tiny_base
from tests.training import conversations, losses, spawn, training_job
from worker.jobdir import newest_valid_checkpoint, sealed
from worker.stop import Stop
from worker.train.run import run

SETTINGS = {"options": {"dropout": 0.1}, "epochs": 3, "micro_batch_rows": 2, "save_every": 2}
VALIDATION = conversations(16)[12:]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), hidden=64, layers=4)


def job(root, base, **more):
    return training_job(root, base=base, rows=conversations(20), validation=VALIDATION, **{**SETTINGS, **more})


def kill_at(jobdir, step: int) -> None:
    """Run the job in a real child and kill it as soon as it has said `step`."""
    child = spawn(jobdir)
    while step not in losses(jobdir):
        assert child.poll() is None, jobdir.log.read_text()
        time.sleep(0.005)
    child.kill()
    child.wait()


def test_three_kills_leave_no_trace_in_losses_or_weights(tmp_path, base):
    control = job(tmp_path / "control", base)
    assert spawn(control).wait(120) == 0 and control.outcome().status == "succeeded"
    seen: dict[int, float] = {}
    previous, resume_from = None, None
    for fence, step in enumerate((4, 8, 12), start=1):
        attempt = job(tmp_path / str(fence), base, fence=fence, resume_from=resume_from)
        if previous is not None:
            shutil.copytree(previous, attempt.root / resume_from)
        kill_at(attempt, step)
        seen |= losses(attempt)
        previous, manifest = newest_valid_checkpoint(attempt.checkpoints)
        assert manifest.step < 15
        resume_from = f"checkpoints/{previous.name}"
    last = job(tmp_path / "last", base, fence=9, resume_from=resume_from)
    shutil.copytree(previous, last.root / resume_from)
    assert spawn(last).wait(120) == 0 and last.outcome().status == "succeeded"
    seen |= losses(last)
    assert seen == losses(control) and len(seen) == 15
    assert last.outcome().result["trained_tokens"] == control.outcome().result["trained_tokens"]
    for path in control.out.iterdir():
        assert (last.out / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture(scope="module")
def half_way(base, tmp_path_factory):
    """A checkpoint at step 2 of a training, and its name."""
    jobdir = job(tmp_path_factory.mktemp("half"), base)
    run(jobdir, StopAtTwo(jobdir))
    return newest_valid_checkpoint(jobdir.checkpoints)[0]


class StopAtTwo(Stop):
    def __init__(self, jobdir):
        super().__init__()
        self._jobdir = jobdir

    def asked(self):
        return len(losses(self._jobdir)) >= 2


def resumed(root, base, half_way, **more):
    jobdir = job(root, base, fence=2, resume_from=f"checkpoints/{half_way.name}", **more)
    shutil.copytree(half_way, jobdir.checkpoints / half_way.name)
    return jobdir


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"learning_rate": 0.02}, "the settings changed"),
        ({"micro_batch_rows": 1}, "the settings changed"),
        ({"options": {"dropout": 0.2}}, "the settings changed"),
        ({"compute_dtype": "bf16"}, "the compute dtype changed"),
    ],
)
def test_another_training_is_not_taken_for_a_resume(tmp_path, base, half_way, more, reason):
    with pytest.raises(AppError) as caught:
        run(resumed(tmp_path, base, half_way, **more), Stop())
    assert caught.value.code is Code.RESUME_REFUSED
    assert reason in caught.value.message and "Restart" in caught.value.message


def test_other_rows_are_not_taken_for_a_resume(tmp_path, base, half_way):
    jobdir = resumed(tmp_path, base, half_way)
    text = (jobdir.inputs / "train" / "files" / "0").read_text()
    write_source(jobdir.inputs / "train", text.replace("red", "ruby").encode())
    with pytest.raises(AppError, match="training rows changed"):
        run(jobdir, Stop())


def mixed_job(root, base, mixed, **more):
    data = {"rows": {"mixed": [{"file": "file-2", "weight": 0.5}], "weight": 1.5, "shuffle_seed": 4}}
    jobdir = job(root, base, data=data, epochs=1, **more)
    write_source(jobdir.inputs / "mixed-1", mixed)
    return jobdir


def test_a_mix_goes_on_as_it_began_and_not_with_other_rows(tmp_path, base):
    documents = [{"text": f"document {number} of the mix"} for number in range(12)]
    control = mixed_job(tmp_path / "control", base, documents)
    run(control, Stop())
    half = mixed_job(tmp_path / "half", base, documents)
    run(half, StopAtTwo(half))
    checkpoint = newest_valid_checkpoint(half.checkpoints)[0]

    def go_on(name, rows):
        jobdir = mixed_job(tmp_path / name, base, rows, fence=2, resume_from=f"checkpoints/{checkpoint.name}")
        shutil.copytree(checkpoint, jobdir.checkpoints / checkpoint.name)
        run(jobdir, Stop())
        return jobdir

    rest = go_on("rest", documents)
    assert losses(half) | losses(rest) == losses(control)
    for path in control.out.iterdir():
        assert (rest.out / path.name).read_bytes() == path.read_bytes(), path.name
    with pytest.raises(AppError, match="training rows changed"):
        go_on("other", [*documents[:-1], {"text": "another document"}])


def test_other_library_versions_are_not_taken_for_a_resume(tmp_path, base, half_way):
    jobdir = resumed(tmp_path, base, half_way)
    manifest = jobdir.checkpoints / half_way.name / "manifest.json"
    manifest.write_text(sealed(json.loads(manifest.read_text().replace('"peft": "', '"peft": "9'))))
    with pytest.raises(AppError, match="another version of peft"):
        run(jobdir, Stop())


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors"])
def test_a_checkpoint_that_lost_a_file_is_refused_not_silently_restarted(tmp_path, base, half_way, name):
    jobdir = resumed(tmp_path, base, half_way)
    (jobdir.checkpoints / half_way.name / name).unlink()
    with pytest.raises(AppError) as caught:
        run(jobdir, Stop())
    assert caught.value.code is Code.RESUME_REFUSED and name in caught.value.message
