"""Watches a training step by step: says what happened, evaluates on schedule, decides when to save and to stop."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from models.domain.errors import Code, JobFailed
from models.domain.estimate import rate_share
from models.domain.job import Phase
from models.domain.progress import CheckpointSaved, Evaluated, PhaseBegan, Remarked, StepDone
from models.domain.training import ScheduleSpec
from worker.jobdir import JobDir
from worker.stop import Stop
from worker.train.checkpoints import Story
from worker.train.course import FEWEST_ROWS, PATIENCE, compared
from worker.train.loss import MeanLoss
from worker.train.plan import Plan
from worker.train.trainer import StepFigures, Wish

MOST_SAMPLED = 100  # evaluations of one run


class Watcher:
    """Keeps the story that travels with every checkpoint. `evaluate` is None where there are no validation rows.

    `sample` is told the step after an evaluation; it says what the model answers, and never raises. `keep` puts the
    adapter of the best evaluation so far aside. `peak` is the memory taken so far. `measuring` surrounds evaluation and
    sample: a room in which the model may compute differently held, to the same numbers. `look` is called after the
    first step that is taken here, and raises where it learnt something else. `at_start` is a room in which the model is
    what it was before step 1; its loss and answers are measured when that step is done, which need not wait for them.
    """

    def __init__(
        self,
        jobdir: JobDir,
        stop: Stop,
        *,
        plan: Plan,
        schedule: ScheduleSpec,
        story: Story,
        evaluate: Callable[[], MeanLoss] | None,
        sample: Callable[[int], None],
        keep: Callable[[], None],
        peak: Callable[[], int | None],
        measuring: Callable[[], AbstractContextManager[Any]] = nullcontext,
        look: Callable[[], None],
        at_start: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.story, self._sample, self._keep, self._peak = story, sample, keep, peak
        self._measuring, self._look, self._at_start = measuring, look, at_start
        self._has_looked = False
        self._schedule = schedule
        self._jobdir, self._stop, self._plan, self._evaluate = jobdir, stop, plan, evaluate
        self._total = len(plan.steps)
        self._evaluate_every = schedule.evaluate_every or plan.steps_per_epoch
        # A run that measures very often is not sampled each time; the first and the last time it always is.
        self._sample_every = -(-(self._total // self._evaluate_every) // MOST_SAMPLED) or 1
        self._save_every = schedule.save_every or plan.steps_per_epoch

    def begin(self, step: int) -> None:
        """`step` is what a resumed training has taken already.

        A stop that fell on an evaluation left it out; it is made up for, so that nothing depends on the interruption.
        """
        if step:
            self._measure_start()
            if self.story.losses and self._is_due(step) and self.story.losses[-1][0] != step:
                self._measure(step)
        if self._evaluate is None and step == 0 and (self._schedule.early_stopping or self._schedule.keep_best):
            self._warn("no rows are held back for validation, so no evaluation says when to stop or which was best.")

    def _is_due(self, step: int) -> bool:
        return step == self._total or step % self._evaluate_every == 0

    def after_step(self, figures: StepFigures) -> Wish:
        story = self.story
        story.trained_tokens += figures.trained_tokens
        story.first_loss = figures.loss_per_token if story.first_loss is None else story.first_loss
        story.last_loss = figures.loss_per_token
        self._jobdir.say(
            StepDone(
                step=figures.step,
                total_steps=self._total,
                epoch=figures.step / self._plan.steps_per_epoch,
                loss_per_token=figures.loss_per_token,
                grad_norm=figures.grad_norm,
                learning_rate=figures.learning_rate,
                trained_tokens=figures.trained_tokens,
                step_seconds=figures.step_seconds,
                tokens=figures.tokens,
                peak_memory_bytes=self._peak(),
                preference=figures.preference,
            )
        )
        self._warn(story.course.add(figures.step, figures.loss_per_token))
        if not self._has_looked:
            self._look()
            self._has_looked = True
        is_last = figures.step == self._total
        if self._stop.asked():
            # No evaluation: whoever asked waits seconds, not minutes.
            return Wish(save=True, stop=True)
        self._measure_start()
        if self._is_due(figures.step):
            self._measure(figures.step)
            if story.improvement.stopped_at is not None:
                return Wish(save=True, stop=True)
        return Wish(save=is_last or figures.step % self._save_every == 0)

    def _look_for_improvement(self, step: int, mean: MeanLoss) -> None:
        """Ends the training by `stopped_at`, and says with what schedule it ended."""
        rows, story = len(mean.row_tokens), self.story
        if rows < FEWEST_ROWS:
            if step == 0:
                self._warn(
                    f"early stopping is off: of {rows} validation rows nobody can tell an improvement from chance. "
                    f"Hold back at least {FEWEST_ROWS}."
                )
            return
        if not story.improvement.has_ended(mean.row_nats, mean.row_tokens) or step == self._total:
            return
        story.improvement.stopped_at = step
        said = (
            f"stopped early after step {step} of {self._total}: {PATIENCE} evaluations in a row brought no improvement "
            "beyond the standard error of their rows' differences."
        )
        share = rate_share(step, self._total, self._schedule)
        if self._schedule.scheduler != "constant":
            said += (
                f" The learning rate was still at {share:.0%} of its height, so the adapter was not annealed: a run of "
                f"{step} steps in all may end better."
            )
        self._warn(said)

    def _warn(self, text: str | None) -> None:
        if text is not None:
            self._jobdir.say(Remarked(level="warn", text=text))

    def end(self) -> None:
        """What the whole course says to somebody who would call it a success."""
        losses = self.story.losses
        if len(losses) < 2:
            self._warn(self.story.course.stands_still())
            return
        before, (step, after) = losses[0][1], self.story.best or losses[-1]
        if not self._schedule.keep_best:
            step, after = losses[-1]
        self._warn(compared(before, after, step))

    def saved(self, step: int, directory: str) -> None:
        self._jobdir.say(CheckpointSaved(step=step, directory=directory))

    def _measure_start(self) -> None:
        """The base's own loss, once."""
        if self._evaluate is not None and not self.story.losses:
            with self._at_start():
                self._measure(0)

    def _measure(self, step: int) -> None:
        if self._evaluate is None:
            return
        self._jobdir.say(PhaseBegan(phase=Phase.EVALUATING))
        with self._measuring():
            self._measure_with(self._evaluate, step)
        self._jobdir.say(PhaseBegan(phase=Phase.TRAINING))

    def _measure_with(self, evaluate: Callable[[], MeanLoss], step: int) -> None:
        mean = evaluate()
        if not math.isfinite(mean.loss_per_token):
            raise JobFailed(
                f"the loss on the validation rows is {mean.loss_per_token} after step {step}, not a number. "
                + ("Import the base again." if step == 0 else "Lower the learning rate."),
                code=Code.NOT_FINITE,
                step=step,
            )
        self.story.losses.append((step, mean.loss_per_token))
        self._jobdir.say(
            Evaluated(
                step=step, loss_per_token=mean.loss_per_token, trained_tokens=mean.trained_tokens,
                preference=mean.preference,
            )
        )  # fmt: skip
        if self._schedule.keep_best and self.story.best == self.story.losses[-1]:
            self._keep()
        if self._schedule.early_stopping:
            self._look_for_improvement(step, mean)
        if step in (0, self._total) or step // self._evaluate_every % self._sample_every == 0:
            self._sample(step)
