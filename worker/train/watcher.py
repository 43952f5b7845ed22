"""Watches a training step by step: says what happened, evaluates on schedule, decides when to save and to stop."""

import math
from collections.abc import Callable

from models.domain.errors import Code, JobFailed
from models.domain.job import Phase
from models.domain.progress import CheckpointSaved, Evaluated, PhaseBegan, StepDone
from models.domain.training import ScheduleSpec
from worker.jobdir import JobDir
from worker.stop import Stop
from worker.train.checkpoints import Story
from worker.train.loss import MeanLoss
from worker.train.plan import Plan
from worker.train.trainer import StepFigures, Wish

MOST_SAMPLED = 100  # evaluations of one run


class Watcher:
    """Keeps the story that travels with every checkpoint. `evaluate` is None where there are no validation rows.

    `sample` is told the step after an evaluation; it says what the model answers, and never raises.
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
    ) -> None:
        self.story, self._sample = story, sample
        self._jobdir, self._stop, self._plan, self._evaluate = jobdir, stop, plan, evaluate
        self._total = len(plan.steps)
        self._evaluate_every = schedule.evaluate_every or plan.steps_per_epoch
        # A run that measures very often is not sampled each time; the first and the last time it always is.
        self._sample_every = -(-(self._total // self._evaluate_every) // MOST_SAMPLED) or 1
        self._save_every = schedule.save_every or plan.steps_per_epoch

    def begin(self) -> None:
        """The base's own loss, before the first step; a resumed training has it already."""
        if not self.story.losses:
            self._measure(0)

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
            )
        )
        is_last = figures.step == self._total
        if self._stop.asked():
            # No evaluation: whoever asked waits seconds, not minutes.
            return Wish(save=True, stop=True)
        if is_last or figures.step % self._evaluate_every == 0:
            self._measure(figures.step)
        return Wish(save=is_last or figures.step % self._save_every == 0)

    def saved(self, step: int, directory: str) -> None:
        self._jobdir.say(CheckpointSaved(step=step, directory=directory))

    def _measure(self, step: int) -> None:
        if self._evaluate is None:
            return
        self._jobdir.say(PhaseBegan(phase=Phase.EVALUATING))
        mean = self._evaluate()
        if not math.isfinite(mean.loss_per_token):
            raise JobFailed(
                f"the loss on the validation rows is {mean.loss_per_token} after step {step}, not a number. "
                + ("Import the base again." if step == 0 else "Lower the learning rate."),
                code=Code.NOT_FINITE,
                step=step,
            )
        self.story.losses.append((step, mean.loss_per_token))
        self._jobdir.say(Evaluated(step=step, loss_per_token=mean.loss_per_token, trained_tokens=mean.trained_tokens))
        if step in (0, self._total) or step // self._evaluate_every % self._sample_every == 0:
            self._sample(step)
        self._jobdir.say(PhaseBegan(phase=Phase.TRAINING))
