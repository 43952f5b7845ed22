"""DPO and KTO from a job's directory to a proven adapter: what they learn, say and record, and how they resume."""

import json
import shutil
from datetime import datetime

import numpy as np
import pytest
import torch

from models.domain.adapter import AdapterManifest
from models.domain.errors import AppError, Code
from models.domain.job import CancelWish
from models.domain.training import TrainingSpec
from tests.training import compared, conversations, losses, training_job
from worker.jobdir import newest_valid_checkpoint
from worker.loading import attach_adapter, load_base
from worker.stop import Stop
from worker.train import references
from worker.train.inputs import read_inputs
from worker.train.objective import objective_of
from worker.train.run import run
from worker.train.setting import set_up

OBJECTIVES = ("dpo", "kto")


def job(path, name, *, rows=None, validation=None, **changes):
    labelled = name == "kto"
    own = compared(20, labelled=labelled)
    held_out = 8 if labelled else 4
    return training_job(
        path, rows=own[held_out:] if rows is None else rows,
        validation=own[:held_out] if validation is None else validation,
        objective={"name": name}, **{"epochs": 4, "learning_rate": 0.003} | changes,
    )  # fmt: skip


def said(jobdir, kind):
    return [one for one in jobdir.said_since(0)[0] if one.type == kind]


def warnings(jobdir):
    return " ".join(one.text for one in said(jobdir, "message"))


@pytest.fixture(scope="module", params=OBJECTIVES)
def trained(request, tmp_path_factory):
    """The objective's name, its job's directory after the run, and the outcome."""
    jobdir = job(tmp_path_factory.mktemp(request.param), request.param)
    return request.param, jobdir, run(jobdir, Stop())


def test_held_out_answers_move_apart_and_the_adapter_is_proven(trained):
    name, jobdir, outcome = trained
    assert outcome.status == "succeeded"
    first, *_, last = said(jobdir, "eval")
    assert first.step == 0 and first.preference.margin == pytest.approx(0, abs=1e-3)
    assert first.loss_per_token == pytest.approx(0.6931 if name == "dpo" else 0.5, abs=1e-3)
    assert last.preference.margin > 0.2 and last.loss_per_token < first.loss_per_token - 0.05
    assert last.preference.accuracy > (0.7 if name == "dpo" else 0.6)
    assert last.preference.chosen - first.preference.chosen > last.preference.rejected - first.preference.rejected
    assert outcome.result["loss_after"] == last.loss_per_token
    for step in said(jobdir, "step"):
        assert step.preference.kl is not None and step.tokens > step.trained_tokens > 0


def test_the_manifest_records_objective_and_reference(trained):
    name, jobdir, _ = trained
    manifest = AdapterManifest.model_validate_json((jobdir.out / "manifest.json").read_text())
    assert manifest.objective is not None and manifest.objective.name == name and manifest.objective.beta == 0.1
    newest = newest_valid_checkpoint(jobdir.checkpoints)
    kept = np.load(newest[0] / references.FILE)
    assert manifest.reference_sha256 == references.sha256_of_references(kept) == newest[1].facts["reference_sha256"]
    assert kept.shape == (20 if name == "dpo" else 40, 2) and (kept < 0).all()


def test_the_saved_adapter_has_the_measured_preference_loss_on_a_fresh_base(trained):
    _, jobdir, _ = trained
    setting = set_up(jobdir)
    rows = read_inputs(jobdir.inputs, setting.spec, setting.facts, said(jobdir, "step")[0].at)
    kept = references.read_references(newest_valid_checkpoint(jobdir.checkpoints)[0], manifest_reference(jobdir))
    references.use_references(rows, kept)
    fresh = attach_adapter(
        load_base(setting.base, setting.spec.quantisation, setting.device, setting.dtype), jobdir.out
    )
    objective = objective_of(setting.spec.objective, fresh, rows.training.shortest, torch.device("cpu"), print)
    found = objective.evaluate([[*rows.validation_units]])
    assert found.loss_per_token == pytest.approx(said(jobdir, "eval")[-1].loss_per_token, abs=1e-5)
    with fresh.disable_adapter():
        base = objective.evaluate([[*rows.validation_units]])
    assert base.loss_per_token == pytest.approx(said(jobdir, "eval")[0].loss_per_token, abs=1e-5)


def manifest_reference(jobdir) -> str:
    return json.loads((jobdir.out / "manifest.json").read_text())["reference_sha256"]


class StopAfter(Stop):
    """Asks to stop once `steps` optimiser steps have been said."""

    def __init__(self, jobdir, steps):
        super().__init__()
        self._jobdir, self._steps = jobdir, steps

    def asked(self):
        return len(losses(self._jobdir)) >= self._steps


def resumed(path, name, stopped, **changes):
    """A second attempt on the newest checkpoint of the first."""
    newest = newest_valid_checkpoint(stopped.checkpoints)
    again = job(path, name, fence=2, resume_from=f"checkpoints/{newest[0].name}", **changes)
    shutil.copytree(stopped.checkpoints, again.checkpoints, dirs_exist_ok=True)
    return again


def test_a_stopped_run_resumes_to_the_same_bytes(trained, tmp_path):
    name, whole, _ = trained
    first = job(tmp_path / "1", name)
    first.ask_to_stop(CancelWish.DISCARD)
    assert run(first, StopAfter(first, 5)).status == "stopped"
    again = resumed(tmp_path / "2", name, first)
    assert run(again, Stop()).status == "succeeded"
    for path in whole.out.iterdir():
        assert path.read_bytes() == (again.out / path.name).read_bytes(), path.name
    assert losses(first) | losses(again) == losses(whole)


def test_another_reference_or_none_is_refused_at_a_resume(trained, tmp_path):
    _, jobdir, _ = trained
    newest, known = newest_valid_checkpoint(jobdir.checkpoints)[0], manifest_reference(jobdir)
    kept = references.read_references(newest, known)
    for found, words in ((kept + 1, "its reference is another one"), (None, "its reference is missing")):
        folder = tmp_path / words
        folder.mkdir()
        if found is not None:
            np.save(folder / references.FILE, found)
        with pytest.raises(AppError, match=words) as raised:
            references.read_references(folder, known)
        assert raised.value.code is Code.RESUME_REFUSED


def test_a_wish_to_stop_is_heard_while_the_reference_is_measured(tmp_path):
    jobdir = job(tmp_path, "dpo")

    class AskedOnceLoading(Stop):
        def asked(self):
            return any(one.phase == "loading" for one in said(jobdir, "phase"))

    outcome = run(jobdir, AskedOnceLoading())
    assert outcome.status == "stopped" and not said(jobdir, "step") and not list(jobdir.out.iterdir())


def test_a_fall_of_the_chosen_answers_is_said_once(tmp_path):
    """Of "red no" and "red no red no" the worse one cannot become unlikely alone."""
    rows = [row | {"chosen": f"{row['chosen']} no", "rejected": f"{row['chosen']} no" * 2} for row in compared(20)]
    jobdir = job(tmp_path, "dpo", rows=rows[4:], validation=rows[:4], learning_rate=0.03)
    run(jobdir, Stop())
    assert warnings(jobdir).count("the log-probability of the chosen answers has fallen by") == 1


def test_a_held_out_answer_is_sampled_beside_the_better_one(tmp_path):
    jobdir = job(tmp_path, "dpo", epochs=1, data={"sample_rows": 1})
    run(jobdir, Stop())
    assert {(one.prompt, one.reference) for one in said(jobdir, "sample")} == {("Which colour has number 0?", "red")}


def test_preferences_are_learnt_with_no_row_held_out(tmp_path):
    jobdir = training_job(tmp_path, rows=compared(12), objective={"name": "dpo"}, learning_rate=0.003)
    assert run(jobdir, Stop()).status == "succeeded"
    assert not said(jobdir, "evaluation")


def test_pairs_over_the_maximum_are_left_out_by_their_longer_side(tmp_path):
    rows = compared(14)
    rows[3]["rejected"] = "9" * 400
    jobdir = job(tmp_path, "dpo", rows=rows, epochs=1, data={"max_length": 128})
    outcome = run(jobdir, Stop())
    assert outcome.result["manifest"]["data"]["left_out"] == {"too_long": 1}
    assert outcome.result["manifest"]["data"]["rows"] == 13


def test_conversations_are_refused_for_dpo_and_named_by_what_takes_them(tmp_path):
    with pytest.raises(AppError) as raised:
        run(job(tmp_path, "dpo", rows=conversations(), validation=conversations()), Stop())
    assert raised.value.code is Code.INVALID_TRAINING_FILE
    assert "holds conversations; DPO needs preference pairs" in raised.value.message
    assert TrainingSpec.model_validate(job(tmp_path / "k", "kto").order().payload).objective.name == "kto"


def test_weights_and_splits_keep_pairs_and_prompts_together(tmp_path):
    rows = compared(12) + compared(12)  # every prompt twice
    data = {"validation_fraction": 0.25, "rows": {"weight": 2}}
    jobdir = training_job(tmp_path, rows=rows, objective={"name": "dpo"}, data=data, epochs=1)
    setting = set_up(jobdir)
    found = read_inputs(jobdir.inputs, setting.spec, setting.facts, datetime(2026, 1, 1))
    prompts = [
        {tuple(pair.first.ids[: pair.first.spans[0].start]) for pair in side}
        for side in (found.units, found.validation_units)
    ]
    assert not prompts[0] & prompts[1] and len(prompts[0]) == 9 and len(prompts[1]) == 3
    assert len(found.units) == 2 * 18 and len(found.validation_units) == 6 and found.lengths == found.units.lengths
