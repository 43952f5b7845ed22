"""Tokens of the training rows that the frozen base has never learnt: their embedding rows look as on the first day.

A LoRA leaves embeddings as they are unless told which tokens to train, so such a token carries nothing into the model,
and as a target its logit hardly moves. They come from templates or files with tokens that were added to a tokenizer
after the base was trained.
"""

from collections.abc import Iterable

import torch
from peft.utils.other import TrainableTokensWrapper
from tokenizers import Tokenizer
from transformers import PreTrainedModel

SMALL = 0.25  # of the median norm of an embedding row
SHOWN = 8


def dead_tokens(weight: torch.Tensor, used: Iterable[int]) -> list[int]:
    """Those of `used` whose row of the embedding `weight` (vocabulary, width) looks untrained, sorted.

    Untrained rows are far shorter than others, or equal to another row bit for bit; trained rows never are.
    """
    rows = torch.tensor(sorted({token for token in used if token < len(weight)}), device=weight.device)
    if not len(rows):
        return []
    weight = weight.detach()
    norms = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32)  # (V,)
    is_dead = norms[rows] < SMALL * norms.median()
    # Equal rows have equal norms: only rows that share one are compared in full.
    order = norms.sort()
    shares = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    same = (order.values[1:] == order.values[:-1]).nonzero()[:, 0]
    first, second = order.indices[:-1][same], order.indices[1:][same]
    equal = (weight[first] == weight[second]).all(dim=1)
    shares[first[equal]] = True
    shares[second[equal]] = True
    return rows[is_dead | shares[rows]].tolist()


def dead_token_remarks(model: PreTrainedModel, used: Iterable[int], tokenizer: Tokenizer) -> list[str]:
    """One sentence that names them. Silent about those that are trained."""
    embedding, used = model.get_input_embeddings(), set(used)
    if isinstance(embedding, TrainableTokensWrapper):
        held = embedding.token_adapter
        used -= {token for name in held.active_adapters for token in held.token_indices[name]}
        embedding = embedding.original_module
    weight = embedding.weight
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2 or weight.requires_grad:
        return []
    dead = dead_tokens(weight, used)
    if not dead:
        return []
    names = ", ".join(tokenizer.id_to_token(token) or str(token) for token in dead[:SHOWN])
    more = f" and {len(dead) - SHOWN:,} more" if len(dead) > SHOWN else ""
    return [
        f"the rows use tokens that this base has never learnt: {names}{more}. An adapter leaves them as they are, so "
        "what they stand for is not learnt. Write them under Trained tokens (a LoRA trains them then), choose a base "
        "that knows them, or remove them from template and rows."
    ]
