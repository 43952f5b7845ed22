"""transformers' Trainer with our plan, our loss and our checkpoints. One of its "batches" is one optimiser step.

It does not know why it trains: run.py tells it the plan, the watcher hears every step and may ask it to stop.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch.utils.data import DataLoader, Dataset
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from models.domain.errors import Code, JobFailed
from models.domain.estimate import rate_share
from models.domain.progress import PreferenceFigures
from models.domain.training import Optimiser, ScheduleSpec
from worker.methods.rates import parameter_groups
from worker.methods.virtual import has_virtual_tokens, load_state
from worker.train.objective import Objective, Stepped
from worker.train.plan import Plan

OPTIMISERS = {
    Optimiser.ADAMW: "adamw_torch",
    Optimiser.ADAMW_8BIT: "adamw_bnb_8bit",
    Optimiser.PAGED_ADAMW_8BIT: "paged_adamw_8bit",
}
StepRows = tuple[tuple[Any, ...], ...]  # one optimiser step: its forward passes, each with what the objective takes


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """What one optimiser step did. `loss_per_token` was measured before the step."""

    step: int
    loss_per_token: float
    grad_norm: float
    learning_rate: float
    trained_tokens: int
    tokens: int
    step_seconds: float
    preference: PreferenceFigures | None = None


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the watcher wants after a step."""

    save: bool = False
    stop: bool = False


class PlannedSteps(Dataset[StepRows]):
    """The plan with rows in place of their numbers."""

    def __init__(self, plan: Plan, rows: Sequence[Any]) -> None:
        self._plan, self._rows = plan, rows

    def __len__(self) -> int:
        return len(self._plan.steps)

    def __getitem__(self, index: int) -> StepRows:
        return tuple(tuple(self._rows[row] for row in micro) for micro in self._plan.steps[index])


class PlannedTrainer(Trainer):
    """Takes the plan's steps in order. Raises JobFailed with code `not_finite` before a bad step is taken."""

    def __init__(
        self,
        model: PeftModel,
        arguments: TrainingArguments,
        *,
        steps: PlannedSteps,
        schedule: ScheduleSpec,
        objective: Objective,
        watch: Callable[[StepFigures], Wish],
        save: Callable[["PlannedTrainer", int], None],
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=steps)
        self._steps, self._schedule = steps, schedule
        self._objective, self._watch, self._save_step = objective, watch, save
        self._grad_norm, self._stepped = 0.0, Stepped(loss=0.0, trained_tokens=0, tokens=0)
        self._began = time.monotonic()
        for noisy in (PrinterCallback, ProgressCallback):
            self.remove_callback(noisy)
        self.add_callback(_AfterStep(self))

    def get_train_dataloader(self) -> DataLoader:
        """In the plan's order. `skip_first_batches` on resume then skips exactly the steps already taken."""
        return DataLoader(self._steps, batch_size=1, shuffle=False, collate_fn=lambda steps: steps[0])

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """A method may give some weights a rate of their own: LoRA+ does."""
        groups = parameter_groups(cast(torch.nn.Module, self.model), self.args.learning_rate, self.args.weight_decay)
        if groups is not None and self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(groups, **options)
        return super().create_optimizer()

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """Our own curve: the stock warm-up takes its first step with a rate of zero."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                cast(torch.optim.Optimizer, optimizer or self.optimizer),
                lambda taken: rate_share(min(taken + 1, num_training_steps), num_training_steps, self._schedule),
            )
        return self.lr_scheduler

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward over all passes of one step (`inputs` are StepRows).

        The objective is a mean over the WHOLE step, however it is cut.
        """
        self._began = time.monotonic()
        model.train()
        self._stepped = self._objective.step(inputs, self.accelerator.backward)
        self._check_finite("loss", self._stepped.loss)
        return torch.tensor(self._stepped.loss, device=self.args.device)

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> float:
        """Called between clipping and the optimiser: the last moment to keep a NaN out of the weights."""
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._grad_norm = float(norm)
        self._check_finite("gradient", self._grad_norm)
        return self._grad_norm

    def _check_finite(self, what: str, value: float) -> None:
        if value != value or value in (float("inf"), float("-inf")):
            step = self.state.global_step + 1
            if step == 1 and what == "loss":
                raise JobFailed(
                    f"the loss before the first step is {value}, not a number to learn from: nothing was trained yet, "
                    "so it is the base that computes none. Import the base again; on a GPU, try fp32.",
                    code=Code.NOT_FINITE, step=0,
                )  # fmt: skip
            raise JobFailed(
                f"the {what} of step {step} is {value}, not a number to learn from; nothing after step {step - 1} is "
                "kept. Try a third of the learning rate or a longer warm-up, or look at the rows of that step.",
                code=Code.NOT_FINITE,
                step=step,
            )

    def after_step(self, learning_rate: float) -> Wish:
        wish = self._watch(
            StepFigures(
                step=self.state.global_step,
                loss_per_token=self._stepped.loss,
                grad_norm=self._grad_norm,
                learning_rate=learning_rate,
                trained_tokens=self._stepped.trained_tokens,
                tokens=self._stepped.tokens,
                preference=self._stepped.preference,
                step_seconds=time.monotonic() - self._began,
            )
        )
        if wish.save:
            self._save_step(self, self.state.global_step)
        return wish

    def load(self, folder: Path) -> None:
        """The adapter's weights as a checkpoint or a kept evaluation has them."""
        self._load_from_checkpoint(str(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """PEFT loads no virtual tokens to train on, and the network that writes them is not in the adapter."""
        if has_virtual_tokens(cast(torch.nn.Module, self.model)):
            load_state(cast(PeftModel, self.model), Path(resume_from_checkpoint))
            return
        learning = {name: one.requires_grad for name, one in cast(torch.nn.Module, self.model).named_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, one in cast(torch.nn.Module, self.model).named_parameters():
            one.requires_grad_(learning[name])  # PEFT lets all of an adapter learn, also what a method has frozen

    def save_state_files(self, folder: Path) -> None:
        """optimizer.pt, scheduler.pt, rng_state.pth and trainer_state.json: all that a resume needs beside weights."""
        self._save_optimizer_and_scheduler(str(folder))
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / "trainer_state.json"))

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> None:
        """We count ourselves; the stock count looks for labels that our batches do not have."""
        return

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Nothing: the watcher has said it, and the Trainer's own history would grow with every checkpoint."""


class _AfterStep(TrainerCallback):
    """Passes each step's end on, and turns the watcher's wish into the Trainer's own words."""

    def __init__(self, trainer: PlannedTrainer) -> None:
        self._trainer = trainer
        self._learning_rate = 0.0

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The rate this step is taken with; after the step the scheduler has moved on.
        self._learning_rate = kwargs["optimizer"].param_groups[0]["lr"]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._trainer.after_step(self._learning_rate).stop:
            control.should_training_stop = True


def training_arguments(
    schedule: ScheduleSpec, *, steps: int, learning_rate: float, folder: Path, use_cpu: bool
) -> TrainingArguments:
    """Everything that the Trainer would do by itself and we do not want is off."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=learning_rate,
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        optim=OPTIMISERS[schedule.optimiser],
        seed=schedule.seed,
        data_seed=schedule.seed,
        use_cpu=use_cpu,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # else a NaN run ends as a success with loss 0.0
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def take_no_step(model: torch.nn.Module, arguments: TrainingArguments) -> None:
    """An optimiser's step at a rate of zero on the gradients that are there: takes its memory and moves nothing."""
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    if not all(bool(torch.isfinite(parameter.grad).all()) for parameter in trained if parameter.grad is not None):
        return  # the training itself stops there, and names the step
    kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
    kind(trained, **{**options, "lr": 0.0}).step()
