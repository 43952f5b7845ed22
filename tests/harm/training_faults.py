"""Faults of the run: its settings, the code of its steps, what it saves, and how it goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from models.domain.estimate import learning_rate
from models.domain.training import ScheduleSpec
from tests.harm.lab import Lab, sound_rows
from tests.harm.registry import How, Where, fault
from tests.text_bases import row
from tests.tiny import STOP_ID
from worker.data.render import Rendered, Renderer
from worker.jobdir import JobDir
from worker.loading import WEIGHTS
from worker.train import beginnings, loss, packing
from worker.train import run as story
from worker.train.trainer import PlannedTrainer, training_arguments

RECOMMENDED = learning_rate(ScheduleSpec(), 32)  # of the tiny base
FIRST_STEP = "the first step learnt something else"


# -- settings ---------------------------------------------------------------------------------------------------


@fault(
    "A learning rate ten times too high",
    where=Where.START,
    how=How.NAMED,
    says="10 times the recommended",
    harm="the base forgets what it knew, or the loss runs away",
)
def rate_too_high(lab: Lab, planted: bool) -> list[str]:
    return lab.start_said(lab.job(learning_rate=RECOMMENDED * (10 if planted else 1)))


@fault(
    "A learning rate a hundred times too low",
    where=Where.START,
    how=How.NAMED,
    says="100 times below the recommended",
    harm="nothing is learnt: at a fifth of the right rate a 135M model answered 0 of 12 taught facts, else 12 of 12",
)
def rate_too_low(lab: Lab, planted: bool) -> list[str]:
    return lab.start_said(lab.job(learning_rate=RECOMMENDED / (100 if planted else 1)))


@fault(
    "Too few steps",
    where=Where.START,
    how=How.NAMED,
    says="optimiser steps; under 60",
    harm="the run ends before the adapter has moved far enough to answer anything",
)
def too_few_steps(lab: Lab, planted: bool) -> list[str]:
    return lab.start_said(lab.job(batch_rows=8 if planted else 1))


@fault(
    "Too many epochs",
    where=Where.START,
    how=How.NAMED,
    says="tend to be learnt by heart",
    harm="the training loss goes to zero and the model repeats its rows",
)
def too_many_epochs(lab: Lab, planted: bool) -> list[str]:
    return lab.start_said(lab.job(epochs=40 if planted else 1))


@fault(
    "Nothing to train",
    where=Where.START,
    how=How.STOPPED,
    says="invalid_setting",
    harm="an adapter without a parameter trains to the end and changes nothing",
)
def nothing_to_train(lab: Lab, planted: bool) -> list[str]:
    return lab.train_said(lab.job(options={"targets": ["no_such_layer"]} if planted else None))


# -- the code of a step, sabotaged --------------------------------------------------------------------------------


def _masked(lab: Lab, change: Callable[[list[bool], Rendered], list[bool]], planted: bool) -> list[str]:
    """A training whose batches carry another mask than their rows."""
    if planted:
        right = Rendered.trained.fget
        assert right is not None
        lab.patch.setattr(Rendered, "trained", property(lambda row: change(right(row), row)))
    return lab.train_said(lab.job())


@fault(
    "Batches that mask the stop token",
    where=Where.FIRST,
    how=How.STOPPED,
    says=FIRST_STEP,
    harm="pad == eos once more, this time inside the trainer: the loss looks right and no answer ends",
)
def batch_without_stop(lab: Lab, planted: bool) -> list[str]:
    def change(mask: list[bool], row: Rendered) -> list[bool]:
        return [flag and token != STOP_ID for flag, token in zip(mask, row.ids, strict=True)]

    return _masked(lab, change, planted)


@fault(
    "Batches that train the question too",
    where=Where.FIRST,
    how=How.STOPPED,
    says=FIRST_STEP,
    harm="the model learns to ask, and half of every gradient is about it",
)
def batch_with_question(lab: Lab, planted: bool) -> list[str]:
    return _masked(lab, lambda mask, row: [False] + [True] * (len(mask) - 1), planted)


@fault(
    "A mask that is one token off",
    where=Where.FIRST,
    how=How.STOPPED,
    says=FIRST_STEP,
    harm="the first token of an answer is never learnt, and what stands after its end is",
)
def shifted_mask(lab: Lab, planted: bool) -> list[str]:
    return _masked(lab, lambda mask, row: [False, *mask[:-1]], planted)


@fault(
    "Loss averaged per forward pass instead of per step",
    where=Where.FIRST,
    how=How.STOPPED,
    says=FIRST_STEP,
    harm="a token of a short answer weighs many times one of a long answer, depending on how rows fall into passes",
)
def loss_per_pass(lab: Lab, planted: bool) -> list[str]:
    def per_pass(self: PlannedTrainer, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Any:
        right, losses = original, []
        for rows in inputs:
            before = [None if one.grad is None else one.grad.clone() for one in model.parameters()]
            losses.append(right(self, model, (rows,)))
            for one, old in zip(model.parameters(), before, strict=True):
                if one.grad is not None:
                    one.grad = (one.grad if old is None else one.grad - old) / len(inputs) + (0 if old is None else old)
        return torch.stack(losses).mean()

    original = PlannedTrainer.training_step
    if planted:
        lab.patch.setattr(PlannedTrainer, "training_step", per_pass)
    rows = [*sound_rows(40), *(row(f"Again, {n}?", "A fish and " * 4 + "one more.") for n in range(20))]
    return lab.train_said(lab.job(rows=rows, batch_rows=2, epochs=2))


@fault(
    "A beginning in common that is one token too long",
    where=Where.FIRST,
    how=How.STOPPED,
    says=FIRST_STEP,
    harm="rows that begin alike are computed together, and one of them is trained on a token of another",
)
def beginning_too_long(lab: Lab, planted: bool) -> list[str]:
    """As if the trial of the model, which sees it and pads rows instead, had not looked."""
    right, tried = beginnings._shared, loss.can_pack
    if planted:
        lab.patch.setattr(beginnings, "_shared", lambda a, b, known: min(right(a, b, known) + 1, len(a), len(b)))
        lab.patch.setattr(loss, "can_pack", lambda model, *row: tried(model, *row) or not _row_by_row(model))
    return lab.train_said(lab.job())


def _row_by_row(model: Any) -> None:
    model.set_attn_implementation(packing.ROW_BY_ROW)


@fault(
    "Adapter weights in bf16",
    where=Where.START,
    how=How.STOPPED,
    says="trained weights must be float32",
    harm="of a bf16 matrix 98 % of the entries do not move in 100 Adam steps at 1e-6, 91 % at 5e-6",
)
def bf16_adapter(lab: Lab, planted: bool) -> list[str]:
    right = story.fresh_adapter

    def cast(*arguments: Any, **named: Any) -> Any:
        model = right(*arguments, **named)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
        return model

    if planted:
        lab.patch.setattr(story, "fresh_adapter", cast)
    return lab.train_said(lab.job())


@fault(
    "An adapter that is frozen",
    where=Where.PROOF,
    how=How.STOPPED,
    says="nothing_learnt",
    harm="the run reaches its last step, and the adapter answers exactly as the base",
)
def frozen_adapter(lab: Lab, planted: bool) -> list[str]:
    def still(*arguments: Any, **named: Any) -> Any:
        return training_arguments(*arguments, **{**named, "learning_rate": 0.0})

    if planted:
        lab.patch.setattr(story, "training_arguments", still)
    return lab.train_said(lab.job())


@fault(
    "Answers cut to fit, inside the trainer",
    where=Where.START,
    how=How.STOPPED,
    says="without its stop token",
    harm="a row cut at the maximum teaches to write on: the end it never reaches is never learnt",
)
def cut_to_fit(lab: Lab, planted: bool) -> list[str]:
    right = Renderer.render

    def cut(self: Renderer, *arguments: Any, **named: Any) -> list[Rendered]:
        whole = right(self, *arguments, **named)
        return [replace(one, ids=one.ids[:70], spans=(replace(one.spans[0], end=70),)) for one in whole]

    if planted:
        lab.patch.setattr(Renderer, "render", cut)
    return lab.read_said([row(f"Say it, number {n}.", "A fish, and one more. " * 4) for n in range(12)])


@fault(
    "A model that has not learnt to stop",
    where=Where.PROOF,
    how=How.NAMED,
    says="did not come to its end",
    harm="every answer runs to the limit; the training loss does not show it",
)
def never_stops(lab: Lab, planted: bool) -> list[str]:
    """A tenth of the rate teaches nothing in 60 steps; the full one teaches the short answers."""
    return [one for one in lab.train_said(lab.job(learning_rate=1e-5 if planted else 0.01)) if "recommended" not in one]


# -- what is saved ------------------------------------------------------------------------------------------------


def _saved_wrong(
    lab: Lab, spoil: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], planted: bool
) -> list[str]:
    """A training that writes other weights than it trained."""
    right = story.save_adapter

    def save(model: Any, folder: Any, *arguments: Any, **named: Any) -> None:
        right(model, folder, *arguments, **named)
        save_file(spoil(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    if planted:
        lab.patch.setattr(story, "save_adapter", save)
    return lab.train_said(lab.job())


@fault(
    "A saved adapter that lacks a layer",
    where=Where.PROOF,
    how=How.STOPPED,
    says="adapter_refused",
    harm="libraries load it without a word and leave the layer untrained",
)
def missing_layer(lab: Lab, planted: bool) -> list[str]:
    return _saved_wrong(lab, lambda all: {name: one for name, one in all.items() if "layers.0." not in name}, planted)


@fault(
    "A saved adapter at another scale",
    where=Where.PROOF,
    how=How.STOPPED,
    says="adapter_refused",
    harm="it answers, a little like what was trained",
)
def wrong_scale(lab: Lab, planted: bool) -> list[str]:
    return _saved_wrong(lab, lambda all: {name: one * 0.8 for name, one in all.items()}, planted)


@fault(
    "A saved adapter with a value that is no number",
    where=Where.PROOF,
    how=How.STOPPED,
    says="not_finite",
    harm="every answer is noise",
)
def nan_saved(lab: Lab, planted: bool) -> list[str]:
    return _saved_wrong(lab, lambda all: {name: one.log() for name, one in all.items()}, planted)


# -- going on after an interruption -------------------------------------------------------------------------------


def _resumed(lab: Lab, spoil: Callable[[JobDir], None], planted: bool) -> list[str]:
    """A training that goes on from the checkpoint of step 40 in a copy of a sound one's directory."""
    root = lab.new() / "job"
    shutil.copytree(lab.shared.trained.root, root)
    for name in ("events.jsonl", "outcome.json"):
        (root / name).unlink(missing_ok=True)
    shutil.rmtree(root / "out")
    (root / "out").mkdir()
    order = json.loads((root / "spec.json").read_text())
    (root / "spec.json").write_text(json.dumps({**order, "resume_from": "checkpoints/step-00000040"}))
    jobdir = JobDir(root)
    if planted:
        spoil(jobdir)
    return lab.train_said(jobdir)


@fault(
    "A damaged checkpoint",
    where=Where.RESUME,
    how=How.STOPPED,
    says="resume_refused",
    harm="a run goes on from weights or moments that nobody trained",
)
def damaged_checkpoint(lab: Lab, planted: bool) -> list[str]:
    def flip(jobdir: JobDir) -> None:
        path = jobdir.checkpoints / "step-00000040" / "optimizer.pt"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return _resumed(lab, flip, planted)


@fault(
    "A checkpoint without its random state",
    where=Where.RESUME,
    how=How.STOPPED,
    says="resume_refused",
    harm="stock trainers draw anew, and the run silently becomes another one",
)
def missing_random_state(lab: Lab, planted: bool) -> list[str]:
    return _resumed(lab, lambda job: (job.checkpoints / "step-00000040" / "rng_state.pth").unlink(), planted)


@fault(
    "Another order of rows after a resume",
    where=Where.RESUME,
    how=How.STOPPED,
    says="the order of batches changed",
    harm="some rows are seen twice and others never (transformers#40691, accelerate#4071)",
)
def other_order(lab: Lab, planted: bool) -> list[str]:
    return _resumed(lab, lambda _: lab.patch.setattr("worker.train.plan._draw", _other_draw), planted)


@fault(
    "Other settings after a resume",
    where=Where.RESUME,
    how=How.STOPPED,
    says="the settings changed",
    harm="half a run with one rate and half with another, recorded as one",
)
def other_settings(lab: Lab, planted: bool) -> list[str]:
    def change(jobdir: JobDir) -> None:
        order = json.loads((jobdir.root / "spec.json").read_text())
        order["payload"]["schedule"]["weight_decay"] = 0.5
        (jobdir.root / "spec.json").write_text(json.dumps(order))

    return _resumed(lab, change, planted)


def _other_draw(seed: int, epoch: int, row: int) -> bytes:
    return str((row * 7919 + epoch) % 104729).zfill(6).encode()
