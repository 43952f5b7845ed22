"""What is looked at between loading and the first step: the step itself, the tokens, and what must move."""

from typing import Protocol

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from worker.train.dead_tokens import dead_token_remarks
from worker.train.first_step import check_first_step
from worker.train.inputs import Rows


class Steps(Protocol):
    """The trainer, as far as one step goes."""

    def training_step(self, model: torch.nn.Module, inputs: object) -> torch.Tensor: ...


def start_remarks(trainer: Steps, model: PeftModel, rows: Rows, dtype: torch.dtype) -> list[str]:
    """Sentences for people. Raises JobFailed with code `mask` where the step would learn something else."""
    if rows.pairs is None:  # the second computation knows the likelihood of answers alone
        check_first_step(model, rows.training, rows.lengths, dtype, lambda passes: trainer.training_step(model, passes))
    base = model.get_base_model()
    assert isinstance(base, PreTrainedModel)
    return dead_token_remarks(base, rows.training.used_tokens, rows.tokenizer)
