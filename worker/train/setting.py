"""Everything about one training job that does not change while it runs, read from its directory once."""

from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from models.catalog.method_facts import check_choice
from models.catalog.virtual_tokens import tokens_in_front
from models.domain.base_model import BaseFacts, Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import TrainingSpec, optimiser_refusal
from worker.device import DeviceFacts, compute_dtype, device_facts, use_threads, visible_name
from worker.jobdir import JobDir, Order
from worker.loading import base_facts
from worker.train.adapter import method_options
from worker.train.inputs import TrainingFacts
from worker.train.named_tokens import with_token_ids
from worker.train.starting import start_of


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`base` is the folder of the pinned base; `dtype` is what the frozen weights compute in.

    `start` is the folder of the adapter to go on from, verified; None begins afresh.
    """

    jobdir: JobDir
    order: Order
    spec: TrainingSpec
    facts: TrainingFacts
    base: Path
    shapes: Shapes
    base_facts: BaseFacts
    device: DeviceFacts
    dtype: torch.dtype
    start: Path | None

    @property
    def in_front(self) -> int:
        """Virtual tokens before every row."""
        return tokens_in_front(self.spec.method)

    @property
    def context(self) -> int:
        """How many tokens of a row and its answer the base reads behind them."""
        return self.shapes.context_length - self.in_front

    @property
    def rows_spec(self) -> TrainingSpec:
        """The wish, with rows no longer than what is left of the context where virtual tokens take some of it."""
        if not self.in_front:
            return self.spec
        data = self.spec.data
        shorter = data.model_copy(update={"max_length": min(data.max_length, self.context)})
        return self.spec.model_copy(update={"data": shorter})


def set_up(jobdir: JobDir) -> Setting:
    """Read the order, fix the thread count and choose the dtype. Raises Invalid with code `invalid_setting`."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    order = jobdir.order()
    spec = TrainingSpec.model_validate(order.payload)
    method_options(spec.method)
    use_threads(order.threads)
    device = device_facts(visible_name(order.device))
    if (refusal := optimiser_refusal(spec.schedule.optimiser, device.name)) is not None:
        raise Invalid(refusal, code=Code.INVALID_SETTING, param="schedule.optimiser")
    base = jobdir.inputs / "base"
    spec = with_token_ids(spec, base)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    check_choice(spec, shapes)
    return Setting(
        jobdir=jobdir, order=order, spec=spec, facts=TrainingFacts.model_validate(order.facts), base=base,
        shapes=shapes, base_facts=base_facts(base),
        device=device, dtype=compute_dtype(order.compute_dtype, device),
        start=start_of(spec, jobdir.inputs, base, order.facts["base_tree_sha256"]),
    )  # fmt: skip
