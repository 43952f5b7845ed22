"""Lets a model in training answer held-out questions, for people to read. Changes nothing of the training.

Always the likeliest token: nothing is drawn, so no random state moves. A sample that fails is a remark.
"""

import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel

from models.domain.progress import Remarked, Sampled
from worker.jobdir import JobDir
from worker.methods.virtual import cache_behind, has_virtual_tokens
from worker.stop import Stop
from worker.train.inputs import Rows
from worker.train.questions import Question

LONGEST_SECONDS = 5.0  # one answer; a large base on a CPU must not sample for longer than it trains


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Token ids without the one that ended it; `is_cut` where none did."""

    ids: tuple[int, ...]
    is_cut: bool


class Sampler:
    """Called with a step, says what the model answers now. After a failure it says why, once, and stays silent."""

    def __init__(self, jobdir: JobDir, stop: Stop, model: PeftModel, rows: Rows, *, tokens: int, context: int) -> None:
        self._jobdir, self._stop, self._model, self._rows = jobdir, stop, model, rows
        self._tokens, self._context = tokens, context
        self._has_failed = False

    def __call__(self, step: int) -> None:
        for number, question in enumerate(self._rows.questions):
            if self._has_failed or self._stop.asked():
                return
            try:
                self._say(step, number, question)
            except Exception as error:  # noqa: BLE001 - whatever an architecture cannot do here, it can still train
                self._has_failed = True
                traceback.print_exc()
                self._jobdir.say(Remarked(level="warn", text=_why(error, step)))
        if self._has_failed and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _say(self, step: int, number: int, question: Question) -> None:
        room = min(self._tokens, self._context - len(question.prompt_ids))
        said = answer(self._model, question.prompt_ids, room, self._rows.stop_token_ids, self._stop)
        if said is not None:
            text = self._rows.tokenizer.decode(list(said.ids), skip_special_tokens=True).strip()
            self._jobdir.say(
                Sampled(
                    step=step, question=number, prompt=question.prompt, answer=text, reference=question.reference,
                    is_cut=said.is_cut,
                )
            )  # fmt: skip


def answer(
    model: PeftModel, prompt_ids: Sequence[int], tokens: int, stop_ids: Collection[int], stop: Stop
) -> Answer | None:
    """At most `tokens` tokens, without dropout; the model is left as it was. None where a stop was asked for."""
    causal = cast(PreTrainedModel, model.get_base_model())
    ids, said = list(prompt_ids), list[int]()
    until = time.monotonic() + LONGEST_SECONDS
    was_training = model.training
    model.eval()
    try:
        cache = cache_behind(model) if has_virtual_tokens(model) else DynamicCache(config=causal.config)
        with torch.no_grad():
            while len(said) < tokens and time.monotonic() < until:
                if stop.asked():
                    return None
                batch = torch.tensor([ids], device=causal.device)  # (1, T)
                logits = causal(input_ids=batch, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                ids = [int(logits[0, -1].argmax())]
                if ids[0] in stop_ids:
                    return Answer(ids=tuple(said), is_cut=False)
                said += ids
    finally:
        model.train(was_training)
    return Answer(ids=tuple(said), is_cut=True)


def _why(error: Exception, step: int) -> str:
    what = (
        "the device has no memory left for it"
        if isinstance(error, torch.OutOfMemoryError)
        else "this base cannot answer while it is trained; the log has the details"
    )
    return f"no sample at step {step}, and none from here on: {what}. The training goes on without."
