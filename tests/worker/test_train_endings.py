"""How long a training goes on and what it publishes: steps, batches by tokens, early stopping, the best evaluation."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from models.domain.errors import AppError, Code
from models.domain.estimate import planned_epochs, planned_steps, schedule_remarks
from models.domain.memory import tokens_per_pass
from models.domain.training import ScheduleSpec
from tests.tiny import tiny_base
from tests.training import conversations, losses, training_job
from worker.device import DeviceFacts
from worker.jobdir import newest_valid_checkpoint
from worker.stop import Stop
from worker.train.objective import Supervised
from worker.train.plan import MicroBatch, plan_batches
from worker.train.run import run

MICRO = MicroBatch(rows=64, tokens=10_000)
HIGH = {"learning_rate": 0.05, "scheduler": "constant"}  # soon learns by heart, and then only gets worse


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def said(jobdir, kind):
    return [one for one in jobdir.said_since(0)[0] if one.type == kind]


def remarks(jobdir) -> str:
    return "\n".join(one.text for one in said(jobdir, "message"))


def trained(jobdir, stop=None):
    outcome = run(jobdir, stop or Stop())
    assert outcome.status == "succeeded"
    return outcome.result


# -- how long ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 7, 11])
def test_steps_take_the_place_of_epochs_and_show_all_rows_before_any_again(steps):
    plan = plan_batches([5] * 10, epochs=3, batch_rows=4, micro=MICRO, seed=1, steps=steps)
    assert len(plan.steps) == steps and plan.steps_per_epoch == 3
    whole = plan_batches([5] * 10, epochs=9, batch_rows=4, micro=MICRO, seed=1)
    assert plan.steps == whole.steps[:steps]


def test_batches_by_tokens_hold_about_equally_many_and_every_row_once_an_epoch():
    lengths = [10 + (row * 37) % 90 for row in range(100)]
    plan = plan_batches(lengths, epochs=3, batch_rows=1, micro=MICRO, seed=1, batch_tokens=500)
    assert len(plan.steps) == 3 * plan.steps_per_epoch and plan.steps_per_epoch == -(-sum(lengths) // 500)
    for epoch in range(3):
        steps = plan.steps[epoch * plan.steps_per_epoch : (epoch + 1) * plan.steps_per_epoch]
        assert sorted(row for step in steps for one in step for row in one) == list(range(100))
    tokens = [sum(lengths[row] for one in step for row in one) for step in plan.steps]
    assert max(tokens) <= 500 + 100 and min(tokens) >= 500 - 2 * 100


def test_a_row_longer_than_a_steps_tokens_is_a_step_of_its_own_and_no_step_is_empty():
    plan = plan_batches([900, 20, 20, 900], epochs=1, batch_rows=8, micro=MICRO, seed=1, batch_tokens=16)
    assert sorted(row for step in plan.steps for one in step for row in one) == [0, 1, 2, 3]
    assert plan.steps_per_epoch == len(plan.steps) == 4


def test_the_hash_of_a_plan_is_that_of_its_steps_and_not_of_their_cut():
    one, cut, other = (
        plan_batches([5] * 12, epochs=1, batch_rows=4, micro=MicroBatch(rows=rows, tokens=999), seed=seed)
        for rows, seed in ((4, 1), (1, 1), (4, 2))
    )
    assert one.steps != cut.steps and one.sha256() == cut.sha256() != other.sha256()


def test_figures_before_a_run_follow_steps_and_tokens():
    by_tokens = ScheduleSpec(batch_tokens=1000, epochs=2)
    assert planned_steps(100, by_tokens, 10_500) == 22 and planned_steps(100, by_tokens) is None
    assert planned_steps(100, ScheduleSpec(steps=500)) == 500
    assert planned_epochs(100, ScheduleSpec(steps=500, batch_rows=10)) == 50
    assert tokens_per_pass(512, by_tokens, "cpu") == 1512


def test_warnings_of_short_and_long_schedules_know_steps_and_tokens():
    assert "only 9 optimiser steps" in schedule_remarks(100, ScheduleSpec(steps=9))[0]
    assert "Try 60 steps" in schedule_remarks(100, ScheduleSpec(steps=9))[0]
    assert "50 epochs" in schedule_remarks(100, ScheduleSpec(steps=500, batch_rows=10))[0]
    assert "use fewer (100 steps)" in schedule_remarks(100, ScheduleSpec(steps=500, batch_rows=10))[0]
    assert (
        "Try 350 tokens a step or 6 epochs"
        in schedule_remarks(100, ScheduleSpec(batch_tokens=1000, epochs=2), 10_500)[0]
    )
    assert schedule_remarks(100, ScheduleSpec(batch_tokens=1000)) == ()  # nobody has counted yet


def test_a_training_by_steps_and_tokens_takes_them_and_says_its_epochs(tmp_path, base):
    jobdir = training_job(tmp_path, base=base, rows=conversations(20), steps=8, batch_tokens=200)
    result = trained(jobdir)
    assert result["steps"] == 8 and len(losses(jobdir)) == 8
    steps = said(jobdir, "step")
    assert max(step.tokens for step in steps) <= 260 and result["manifest"]["data"]["epochs"] == steps[-1].epoch
    assert all(step.tokens > step.trained_tokens for step in steps)
    assert min(step.peak_memory_bytes for step in steps) > 10**8


def test_an_8_bit_optimiser_is_refused_where_there_is_no_gpu(tmp_path, base):
    with pytest.raises(AppError) as caught:
        run(training_job(tmp_path, base=base, optimiser="adamw_8bit"), Stop())
    assert caught.value.code is Code.INVALID_SETTING and "needs a GPU" in caught.value.message


# -- when it ends, and which adapter it leaves ----------------------------------------------------------------------


def worsening(root, base, **more):
    """The answers held out are others than those that are learnt: after two epochs every evaluation is worse."""
    answer = {"role": "assistant", "content": "xyz" * 4}
    held_out = [{"messages": [row["messages"][0], answer]} for row in conversations(more.pop("held_out", 40))]
    settings = {"validation": held_out, "epochs": 16, "data": {"sample_rows": 0}, **HIGH} | more
    return training_job(root, base=base, rows=conversations(12), **settings)


def test_a_training_that_no_longer_improves_ends_after_three_evaluations_and_says_so(tmp_path, base):
    jobdir = worsening(tmp_path, base, early_stopping=True, scheduler="cosine")
    result = trained(jobdir)
    step = result["stopped_early_at"]
    assert step == result["steps"] < 30
    evaluations = [one.loss_per_token for one in said(jobdir, "eval")]
    assert min(evaluations) == evaluations[-4] and len(evaluations) == 1 + step // 3
    data = result["manifest"]["data"]
    assert (data["planned_steps"], data["steps"]) == (48, step)
    assert f"stopped early after step {step} of 48" in remarks(jobdir) and "not annealed" in remarks(jobdir)


def test_a_constant_rate_has_nothing_to_anneal(tmp_path, base):
    jobdir = worsening(tmp_path, base, early_stopping=True)
    trained(jobdir)
    assert "stopped early" in remarks(jobdir) and "annealed" not in remarks(jobdir)


def test_under_thirty_validation_rows_nothing_stops_early_and_the_reason_is_said(tmp_path, base):
    jobdir = worsening(tmp_path, base, early_stopping=True, held_out=29, epochs=7)
    assert trained(jobdir)["steps"] == 21
    assert "early stopping is off" in remarks(jobdir) and "at least 30" in remarks(jobdir)


def test_the_best_evaluations_adapter_is_published_and_named(tmp_path, base):
    last, best = (worsening(tmp_path / str(kept), base, keep_best=bool(kept), epochs=5) for kept in (0, 1))
    after_last, after_best = trained(last), trained(best)
    measured = {one.step: one.loss_per_token for one in said(best, "eval")}
    step = min((one for one in measured if one), key=measured.__getitem__)
    assert step < 15 and after_best["adapter_step"] == step and after_last["adapter_step"] is None
    assert after_best["loss_after"] == measured[step] < after_last["loss_after"] == measured[15]
    assert after_best["manifest"]["data"]["adapter_step"] == step and f"that of step {step}" in remarks(best)
    at_step = load_file(best.root / "best" / "adapter" / "adapter_model.safetensors")
    published = load_file(best.out / "adapter_model.safetensors")
    assert all(torch.equal(published[name], at_step[name]) for name in published)


class StopAfter(Stop):
    def __init__(self, jobdir, steps):
        super().__init__()
        self._jobdir, self._steps = jobdir, steps

    def asked(self):
        return len(losses(self._jobdir)) >= self._steps


@pytest.mark.parametrize("steps_before", [7, 1, 0])
def test_a_resumed_training_stops_early_and_keeps_the_best_as_if_it_had_not_been_interrupted(
    tmp_path, base, steps_before
):
    """Interrupted before the stop, one step before it, and between the stop and the saving of the adapter."""
    settings = {"early_stopping": True, "keep_best": True, "options": {"dropout": 0.1}}
    control = worsening(tmp_path / "control", base, **settings)
    stopped_at = trained(control)["stopped_early_at"]
    half = worsening(tmp_path / "half", base, **settings)
    assert run(half, StopAfter(half, stopped_at - steps_before)).status == "stopped"
    checkpoint, _ = newest_valid_checkpoint(half.checkpoints)
    rest = worsening(tmp_path / "rest", base, fence=2, resume_from=f"checkpoints/{checkpoint.name}", **settings)
    shutil.copytree(checkpoint, rest.checkpoints / checkpoint.name)
    trained(rest)
    assert losses(half) | losses(rest) == losses(control)
    for path in control.out.iterdir():
        assert (rest.out / path.name).read_bytes() == path.read_bytes(), path.name


# -- before the first step, and right after it ------------------------------------------------------------------


def test_where_memory_is_refused_the_largest_pass_is_tried_and_leaves_no_trace(tmp_path, base, monkeypatch):
    tried, untried = (training_job(tmp_path / name, base=base, weight_decay=0.1) for name in ("1", "2"))
    run(untried, Stop())
    monkeypatch.setattr(DeviceFacts, "refuses_memory", True)
    run(tried, Stop())
    assert losses(tried) == losses(untried)
    for path in tried.out.iterdir():
        assert path.read_bytes() == (untried.out / path.name).read_bytes(), path.name


def test_where_memory_is_refused_passes_are_halved_until_they_fit_and_that_is_said(tmp_path, base, monkeypatch):
    right = Supervised.step

    def with_room_for_two(self, passes, backward):
        if any(len(one) > 2 for one in passes):
            raise torch.OutOfMemoryError("no room for three rows")
        return right(self, passes, backward)

    monkeypatch.setattr(DeviceFacts, "refuses_memory", True)
    monkeypatch.setattr(Supervised, "step", with_room_for_two)
    jobdir = training_job(tmp_path, base=base, rows=conversations(16), batch_rows=8, micro_batch_rows=8)
    trained(jobdir)
    assert "going on with 2 rows per forward pass" in remarks(jobdir)


def test_the_first_step_holds_the_longest_row_however_steps_are_cut():
    lengths = [7, 9, 8, 40, 6, 5, 30, 7, 9, 10, 11, 12]
    plans = [
        plan_batches(lengths, epochs=2, batch_rows=4, micro=MicroBatch(rows=rows, tokens=tokens), seed=seed)
        for rows in (1, 4) for tokens in (20, 999) for seed in range(5)
    ]  # fmt: skip
    assert all(3 in {row for one in plan.steps[0] for row in one} for plan in plans)
    assert len({plan.sha256() for plan in plans}) == 5


@pytest.mark.parametrize("steps", [0, 1])
def test_the_bases_own_loss_is_measured_behind_the_first_step_with_what_was_there_before_it(tmp_path, base, steps):
    """Also where the first attempt was stopped on that step, and measured nothing."""
    settings = {"validation": conversations()[:4], "learning_rate": 0.1, "options": {"dropout": 0.1}}
    still = training_job(tmp_path / "still", base=base, **settings | {"learning_rate": 1e-12})
    control = training_job(tmp_path / "control", base=base, **settings)
    trained(still), trained(control)
    order = [one.type for one in control.said_since(0)[0] if one.type in ("step", "eval")]
    assert order[:2] == ["step", "eval"]
    measured = said(control, "eval")
    assert measured[0].step == 0 and measured[0].loss_per_token == said(still, "eval")[0].loss_per_token
    assert measured[1].loss_per_token != measured[0].loss_per_token
    if steps:
        half = training_job(tmp_path / "half", base=base, **settings)
        assert run(half, StopAfter(half, steps)).status == "stopped" and said(half, "eval") == []
        checkpoint, _ = newest_valid_checkpoint(half.checkpoints)
        rest = training_job(
            tmp_path / "rest", base=base, fence=2, resume_from=f"checkpoints/{checkpoint.name}", **settings
        )
        shutil.copytree(checkpoint, rest.checkpoints / checkpoint.name)
        trained(rest)
        assert [one.loss_per_token for one in said(rest, "eval")] == [one.loss_per_token for one in measured]
        for path in control.out.iterdir():
            assert (rest.out / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_run_that_hardly_taught_anything_says_so_with_and_without_validation_rows(tmp_path, base):
    for name, validation in (("with", conversations(4)), ("without", None)):
        jobdir = training_job(tmp_path / name, base=base, validation=validation, epochs=6, learning_rate=1e-6)
        trained(jobdir)
        assert "hardly fell" in remarks(jobdir) and "three times the learning rate" in remarks(jobdir)
