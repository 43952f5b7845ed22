"""One answer, token by token: prompt in, pieces of text out, with a look around between tokens. Knows no queue."""

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache, PreTrainedModel

from models.domain.chat import Sampling
from worker.chat.sampling import draw, generator_for
from worker.chat.voice import Detokeniser, StopStrings

PREFILL_TOKENS = 512  # a long prompt is read in pieces, so that a stop need not wait for all of it

Reason = Literal["stop", "length", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an answer ended. `tokens` counts every token drawn, the stop token too."""

    reason: Reason
    tokens: int


def speak(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    stop_ids: Collection[int],
    say: Callable[[str], None],
    should_stop: Callable[[], bool],
    begun: DynamicCache | None = None,
) -> Ended:
    """Answer with at most `sampling.max_tokens` tokens. `should_stop` is asked before each pass; it may raise.

    `begun` is what stands in the cache before the prompt, of an adapter with virtual tokens; it is left as it is.
    """
    generator, reader = generator_for(sampling.seed), _Reader(model, begun)
    pieces, stops = Detokeniser(tokenizer), StopStrings(sampling.stop)
    logits = torch.empty(0)
    for start in range(0, len(prompt_ids), PREFILL_TOKENS):
        if should_stop():
            return Ended(reason="stopped", tokens=0)
        logits = reader.read(prompt_ids[start : start + PREFILL_TOKENS])
    reason, drawn = None, 0
    while reason is None:
        token = draw(logits, sampling, generator)
        drawn += 1
        if token not in stop_ids:
            _say(say, stops.pass_on(pieces.push(token)))
        if token in stop_ids or stops.is_hit:
            reason = "stop"
        elif drawn == sampling.max_tokens:
            reason = "length"
        elif should_stop():
            reason = "stopped"
        else:
            logits = reader.read([token])
    _say(say, stops.pass_on(pieces.rest()) + stops.rest())
    return Ended(reason=reason, tokens=drawn)


class _Reader:
    """Feeds ids to the model, which remembers those before, and what the cache was `begun` with."""

    def __init__(self, model: PreTrainedModel, begun: DynamicCache | None) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.config) if begun is None else deepcopy(begun)

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> torch.Tensor:
        """(V,) logits for what follows the last id, in float32 on the host."""
        batch = torch.tensor([ids], device=self._model.device)  # (1, T)
        said = self._model(input_ids=batch, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        return said.logits[0, -1].float().cpu()


def _say(say: Callable[[str], None], text: str) -> None:
    if text:
        say(text)
