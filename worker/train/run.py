"""Turns a job directory into an adapter. Knows nothing of Redis, SQL or users.

The story: read and render rows, load the base, put an adapter on it, plan every batch, fit, save, and prove what
was saved. Its steps stand below in the order they are called.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import TrainingArguments

from models.domain.errors import Code, JobFailed
from models.domain.estimate import schedule_remarks
from models.domain.job import CancelWish, Phase
from models.domain.memory import TOKENS_PER_PASS
from models.domain.objectives import SEQUENCES_OF
from models.domain.progress import PhaseBegan, Progressed, Remarked
from models.domain.training import Quantisation
from worker.device import bytes_below_peak, cpu_model, dtype_name, give_back_memory, peak_memory_bytes
from worker.jobdir import JobDir, Outcome
from worker.loading import WEIGHTS
from worker.stop import Stop
from worker.train.adapter import check_float32, fresh_adapter, save_adapter, save_manifest, save_trained
from worker.train.base import base_to_train
from worker.train.checkpoints import Story, check_same, resumed, seal, stage
from worker.train.dead_tokens import dead_token_remarks
from worker.train.first_step import check_first_step
from worker.train.inputs import Rows, read_inputs
from worker.train.loss import MeanLoss
from worker.train.moved import Before
from worker.train.objective import Objective, Preferences, objective_of
from worker.train.plan import MicroBatch, Plan, cut_rows, plan_batches
from worker.train.proof import check_finite, prove
from worker.train.rate import rate_of, rate_said
from worker.train.references import measure_references, read_references, use_references, write_references
from worker.train.results import figures, manifest_of
from worker.train.samples import Sampler
from worker.train.setting import Setting, set_up
from worker.train.trainer import PlannedSteps, PlannedTrainer, take_no_step, training_arguments
from worker.train.watcher import Watcher
from worker.unpacked import unpacked

SECONDS_BETWEEN_REPORTS = 1.0
BEST, WEIGHED = "best", "adapter"  # two folders deep: PEFT takes one with weights for a second adapter
ROWS_TO_PROVE = 16  # training rows that stand in where there are no validation rows


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What fitting left behind: the adapter in out/ if `is_saved`, and the figures that prove it."""

    story: Story
    step: int
    is_saved: bool
    was_stopped: bool
    final_loss: float | None
    micro: MicroBatch


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """in/ -> out/, in the job directory. Raises AppError kinds with stable codes; see each step."""
    setting = set_up(jobdir)
    before = resumed(jobdir, setting.order.resume_from) if setting.order.resume_from else None
    _begin(jobdir, Phase.PLANNING)
    now = datetime.fromisoformat(before[1].rendered_at) if before else datetime.now(UTC)
    try:
        rows = read_inputs(
            jobdir.inputs, setting.rows_spec, setting.facts, now, gates=before[1].gates if before else None,
            watch=_watching(jobdir, stop),
        )  # fmt: skip
    except _Stopped:
        return Outcome(status="stopped")
    schedule_said = schedule_remarks(len(rows.units), setting.spec.schedule, rows.training.tokens)
    for remark in (*rows.remarks, *schedule_said, *rate_said(setting, are_texts=rows.are_texts)):
        jobdir.say(Remarked(level="warn", text=remark))
    if stop.asked():
        return Outcome(status="stopped")
    try:
        fitted = _fit(setting, rows, now, before, stop)
    except _Stopped:
        return Outcome(status="stopped")
    if fitted.was_stopped:
        return _stopped(jobdir, fitted)
    # The first model is gone by now: a second one must fit beside nothing.
    give_back_memory(setting.device.name)
    _begin(jobdir, Phase.CHECKING)
    assert fitted.final_loss is not None
    stops = prove(
        jobdir.out, setting.base, _proving_passes(rows, fitted.micro), fitted.final_loss,
        (rows.validation or rows.training)[0], lambda fresh: _objective(setting, rows, fresh, _silently),
        setting.device, setting.dtype, setting.facts.base_tree_sha256,
    )  # fmt: skip
    if not stops:
        jobdir.say(
            Remarked(level="warn", text="a trial answer did not come to its end; train longer, or on more rows.")
        )
    return Outcome(status="succeeded", result=figures(jobdir, fitted.step))


class _Stopped(Exception):
    """Carries a wish to stop out of the reading of rows, or the measuring of a reference."""


# -- before the first step --------------------------------------------------------------------------------------


def _watching(jobdir: JobDir, stop: Stop) -> Callable[[int, int | None], None]:
    """Says how many rows are read, once a second; a million of them take minutes."""
    said_at = time.monotonic()

    def watch(done: int, total: int | None) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=done, total=total, unit="rows"))
            if stop.asked():
                raise _Stopped

    return watch


def _fit(setting: Setting, rows: Rows, now: datetime, before: tuple[Path, Story] | None, stop: Stop) -> Fitted:
    """Load, plan and train; save the adapter unless a stop without the wish to keep it came first."""
    jobdir, schedule = setting.jobdir, setting.spec.schedule
    _begin(jobdir, Phase.LOADING)
    base = base_to_train(
        jobdir, setting.spec.quantisation, setting.device, setting.dtype, keeps=setting.facts.keeps_packed
    )
    model = fresh_adapter(base, setting.spec.method, setting.shapes, schedule.seed, setting.start)
    if schedule.gradient_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    micro = _micro_batch(setting, before[1] if before else None)
    plan, micro = _plan_that_fits(setting, rows, micro, model)
    objective = _objective(setting, rows, model, lambda text: jobdir.say(Remarked(level="warn", text=text)))
    reference_sha256 = _reference(jobdir, rows, objective, micro, before, stop)
    story = _story(setting, rows, plan, micro, now).model_copy(update={"reference_sha256": reference_sha256})
    if before is not None:
        for remark in check_same(before[1], story):
            jobdir.say(Remarked(level="warn", text=remark))
        story = before[1].model_copy(update={"micro_rows": micro.rows, "micro_tokens": micro.tokens}, deep=True)
        if (before[0] / BEST).exists():
            shutil.copytree(before[0] / BEST, jobdir.root / BEST, dirs_exist_ok=True)
    untrained = Before(model)
    watcher = Watcher(
        jobdir, stop, plan=plan, schedule=schedule, story=story,
        evaluate=_evaluation(objective, rows, micro),
        sample=Sampler(
            jobdir, stop, model, rows, tokens=setting.spec.data.sample_tokens, context=setting.context
        ),
        keep=lambda: save_trained(model, jobdir.root / BEST / WEIGHED, setting.facts.base_name),
        peak=lambda: peak_memory_bytes(setting.device.name),
        measuring=lambda: _measuring(setting, model),
        look=lambda: _look(setting, rows, model, trainer),
        at_start=lambda: untrained.put_back(model),
    )  # fmt: skip
    trainer = PlannedTrainer(
        model, _arguments(setting, len(plan.steps)),
        steps=PlannedSteps(plan, rows.units), schedule=schedule, objective=objective, watch=watcher.after_step,
        save=lambda trainer, step: _checkpoint(setting, rows, watcher, trainer, model, step),
    )  # fmt: skip
    check_float32(model)
    _begin(jobdir, Phase.TRAINING)
    for remark in dead_token_remarks(base, rows.training.used_tokens, rows.tokenizer):
        jobdir.say(Remarked(level="warn", text=remark))
    if before is not None:
        trainer.load(before[0])
    watcher.begin(0 if before is None else int(before[0].name.removeprefix("step-")))
    if story.improvement.stopped_at is None:  # else it stopped early, and was interrupted before the adapter was saved
        trainer.train(resume_from_checkpoint=str(before[0]) if before else None)
    step = story.improvement.stopped_at or trainer.state.global_step
    for remark in untrained.check_moved(model, step):
        jobdir.say(Remarked(level="warn", text=remark))
    chosen = _chosen(setting, story, step)
    if chosen != step:
        trainer.load(jobdir.root / BEST / WEIGHED)
        jobdir.say(Remarked(text=f"the adapter is that of step {chosen}, where the validation loss was lowest."))
    return _save(
        setting, rows, watcher, model, objective, plan, micro, step=step, chosen=chosen, was_stopped=stop.asked()
    )


def _arguments(setting: Setting, steps: int) -> TrainingArguments:
    schedule = setting.spec.schedule
    return training_arguments(
        schedule, steps=steps, learning_rate=rate_of(setting),
        folder=setting.jobdir.checkpoints, use_cpu=setting.device.name == "cpu",
    )  # fmt: skip


def _chosen(setting: Setting, story: Story, step: int) -> int:
    """The step whose weights are published: the last one, or with `keep_best` that of the best evaluation."""
    return story.best[0] if setting.spec.schedule.keep_best and story.best is not None else step


def _micro_batch(setting: Setting, before: Story | None) -> MicroBatch:
    """As before a resume; else as the person said; else as many rows as a token budget holds."""
    if before is not None:
        return MicroBatch(rows=before.micro_rows, tokens=before.micro_tokens)
    schedule = setting.spec.schedule
    if schedule.micro_batch_rows is not None:
        return MicroBatch(rows=schedule.micro_batch_rows, tokens=2**31)
    rows = schedule.batch_rows if schedule.batch_tokens is None else 2**31
    return MicroBatch(rows=rows, tokens=TOKENS_PER_PASS[setting.device.name.partition(":")[0]])


def _plan_that_fits(setting: Setting, rows: Rows, micro: MicroBatch, model: PeftModel) -> tuple[Plan, MicroBatch]:
    """Where a device refuses memory, take the plan's largest forward pass as a step that moves nothing; halve until it
    fits, also if its rows had nothing in common. A CPU refuses none: there the first step, which holds the longest
    row, ends the process, and the next halves.

    Raises torch.OutOfMemoryError where even one row does not fit.
    """
    for _ in range(setting.order.halvings):
        micro = _halved(setting, rows, micro)
    if not setting.device.refuses_memory:
        return _plan(setting, rows, micro), micro
    arguments = _arguments(setting, 1)
    while True:
        plan = _plan(setting, rows, micro)
        largest = _largest(plan, _taken(setting, rows.lengths))
        try:
            model.train()
            trial = _objective(setting, rows, model, _silently, shares=False)
            trial.step([[rows.units[row] for row in largest]], torch.Tensor.backward)
            take_no_step(model, arguments)
            return plan, micro
        except torch.OutOfMemoryError:
            if micro.rows == 1 or len(largest) == 1:
                raise
            micro = micro.halved()
            setting.jobdir.say(
                Remarked(text=f"the longest batch did not fit; going on with {_words(micro)} per forward pass.")
            )
        finally:
            model.zero_grad(set_to_none=True)


def _plan(setting: Setting, rows: Rows, micro: MicroBatch) -> Plan:
    schedule, shuffle_seed = setting.spec.schedule, setting.spec.data.rows.shuffle_seed
    return plan_batches(
        _taken(setting, rows.lengths), epochs=schedule.epochs, batch_rows=schedule.batch_rows, micro=micro,
        seed=schedule.seed if shuffle_seed is None else shuffle_seed, steps=schedule.steps,
        batch_tokens=schedule.batch_tokens,
    )  # fmt: skip


def _largest(plan: Plan, lengths: Sequence[int]) -> tuple[int, ...]:
    """The forward pass with the most tokens, counted with padding."""
    return max((one for step in plan.steps for one in step), key=lambda one: len(one) * lengths[one[-1]])


def _taken(setting: Setting, lengths: Sequence[int]) -> list[int]:
    """What each unit takes of a forward pass: its tokens, and the virtual ones before each of its sequences."""
    front = setting.in_front * SEQUENCES_OF[setting.spec.objective.name]
    return [length + front for length in lengths]


def _halved(setting: Setting, rows: Rows, micro: MicroBatch) -> MicroBatch:
    """Passes half as large, after this run has gone out of memory. Raises JobFailed where that changes nothing."""
    half = micro.halved()
    lengths = _taken(setting, rows.lengths)
    before, now = (_largest(_plan(setting, rows, one), lengths) for one in (micro, half))
    if len(now) < len(before):
        return half
    raise JobFailed(
        f"the job ran out of memory, and its largest forward pass is a single row of {rows.lengths[now[-1]]:,} tokens, "
        "so smaller passes do not help. Lower the longest row, or choose NF4 or a smaller base, then start it again.",
        code=Code.OUT_OF_MEMORY,
    )


def _words(micro: MicroBatch) -> str:
    return f"{micro.rows} row{'s' if micro.rows > 1 else ''}" if micro.rows < 2**15 else f"{micro.tokens:,} tokens"


def _story(setting: Setting, rows: Rows, plan: Plan, micro: MicroBatch, now: datetime) -> Story:
    trained = hashlib.sha256(plan.sha256().encode())
    trained.update(rows.training.sha256() + rows.validation.sha256())
    for pairs in (rows.pairs, rows.validation_pairs):
        trained.update(pairs.sha256() if pairs is not None else b"")
    # Neither a name nor a sample changes what is learnt.
    # Defaults are left out, so that a setting that is new tomorrow does not refuse the checkpoints of today.
    wish = setting.spec.model_dump_json(
        exclude={"suffix": True, "data": {"sample_rows", "sample_tokens"}}, exclude_defaults=True
    )
    return Story(
        plan_sha256=trained.hexdigest(),
        training_sha256=rows.identity,
        gates=list(rows.gates),
        base_tree_sha256=setting.facts.base_tree_sha256,
        spec_sha256=hashlib.sha256(wish.encode()).hexdigest(),
        micro_rows=micro.rows,
        micro_tokens=micro.tokens,
        rendered_at=now.isoformat(),
        device=setting.device.name,
        compute_dtype=dtype_name(setting.dtype),
        threads=setting.order.threads,
        cpu_model=cpu_model(),
    )


def _objective(
    setting: Setting, rows: Rows, model: PeftModel, warn: Callable[[str], object], *, shares: bool = True
) -> Objective:
    device = torch.device(setting.device.name)
    return objective_of(setting.spec.objective, model, rows.training.shortest, device, warn, shares=shares)


def _silently(_: str) -> None:
    """What is tried or proven has been said where it was trained."""


def _reference(
    jobdir: JobDir, rows: Rows, objective: Objective, micro: MicroBatch, before: tuple[Path, Story] | None, stop: Stop
) -> str | None:
    """Measure what a preference objective compares with while the model is as it starts; a resume brings its own."""
    if not isinstance(objective, Preferences):
        return None
    if before is not None:
        return use_references(rows, read_references(before[0], before[1].reference_sha256))
    found = measure_references(objective, rows, micro, _watching(jobdir, stop))
    if stop.asked():
        raise _Stopped
    return use_references(rows, found)


def _measuring(setting: Setting, model: PeftModel) -> AbstractContextManager[bool]:
    """A quantised base holds its weights unpacked for an evaluation, where what its steps took leaves room for it."""
    if setting.spec.quantisation is not Quantisation.NONE and setting.device.name == "cpu":
        give_back_memory(setting.device.name)
    return unpacked(model, setting.dtype, bytes_below_peak(setting.device.name))


def _look(setting: Setting, rows: Rows, model: PeftModel, trainer: PlannedTrainer) -> None:
    """Raises JobFailed with code `mask` where the trainer's step learns something else than the rows' answers."""
    if rows.pairs is None:  # the second computation knows the likelihood of answers alone
        check_first_step(
            model, rows.training, rows.lengths, setting.dtype, lambda passes: trainer.training_step(model, passes)
        )


def _evaluation(objective: Objective, rows: Rows, micro: MicroBatch) -> Callable[[], MeanLoss] | None:
    """Measures the validation rows; None where there are none."""
    if not len(rows.validation_units):
        return None
    passes = cut_rows(rows.validation_units.lengths, micro)
    return lambda: objective.evaluate([rows.validation_units[row] for row in one] for one in passes)


# -- while it trains --------------------------------------------------------------------------------------------


def _checkpoint(
    setting: Setting, rows: Rows, watcher: Watcher, trainer: PlannedTrainer, model: PeftModel, step: int
) -> None:
    """Everything a resume needs, complete as soon as the final name exists."""
    _begin(setting.jobdir, Phase.SAVING)
    staged = stage(setting.jobdir, setting.order.fence, step)
    save_trained(model, staged, setting.facts.base_name)
    trainer.save_state_files(staged)
    write_references(staged, rows)
    if (setting.jobdir.root / BEST).exists():
        shutil.copytree(setting.jobdir.root / BEST, staged / BEST)
    watcher.saved(step, seal(setting.jobdir, staged, fence=setting.order.fence, step=step, story=watcher.story))
    _begin(setting.jobdir, Phase.TRAINING)


# -- after the last step ----------------------------------------------------------------------------------------


def _save(
    setting: Setting, rows: Rows, watcher: Watcher, model: PeftModel, objective: Objective, plan: Plan,
    micro: MicroBatch, *, step: int, chosen: int, was_stopped: bool,
) -> Fitted:  # fmt: skip
    story, jobdir = watcher.story, setting.jobdir
    if was_stopped and (jobdir.stop_wish() is not CancelWish.KEEP or story.trained_tokens == 0):
        return Fitted(story=story, step=step, is_saved=False, was_stopped=True, final_loss=None, micro=micro)
    _begin(jobdir, Phase.SAVING)
    save_adapter(model, jobdir.out, setting.facts.base_name)
    check_finite(jobdir.out / WEIGHTS)
    save_manifest(jobdir.out, manifest_of(setting, rows, story, model, plan, step=step, chosen=chosen))
    final_loss = None
    if not was_stopped:
        watcher.end()
        final_loss = (
            dict(story.losses)[chosen]
            if story.losses
            else objective.evaluate(_proving_passes(rows, micro)).loss_per_token
        )
    return Fitted(story=story, step=step, is_saved=True, was_stopped=was_stopped, final_loss=final_loss, micro=micro)


def _proving_passes(rows: Rows, micro: MicroBatch) -> list[list[Any]]:
    """The validation rows, or a few training rows where there are none."""
    if len(rows.validation_units):
        return _passes(rows.validation_units, rows.validation_units.lengths, micro)
    return _passes(rows.units[:ROWS_TO_PROVE], rows.lengths[:ROWS_TO_PROVE], micro)


def _passes(units: Sequence[Any], lengths: Sequence[int], micro: MicroBatch) -> list[list[Any]]:
    return [[units[row] for row in one] for one in cut_rows(lengths, micro)]


def _stopped(jobdir: JobDir, fitted: Fitted) -> Outcome:
    result = figures(jobdir, fitted.step) if fitted.is_saved else {"steps": fitted.step}
    return Outcome(status="stopped", result={**result, "is_kept": fitted.is_saved})


def _begin(jobdir: JobDir, phase: Phase) -> None:
    jobdir.say(PhaseBegan(phase=phase))
