"""Rows laid end to end without padding: layers see real tokens only, and attention alone sees where rows begin.

A packed row has the loss and the gradient it has alone: positions restart with each row, and attention takes the
rows one by one. `can_pack` measures on the model at hand whether that is so; where it is not, rows are padded.
Knows models and tensors, neither rows of data nor jobs.
"""

import inspect
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ROW_BY_ROW = "row_by_row"  # the name of this attention in a model's config


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    row_lengths: tuple[int, ...] | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Like `sdpa`, and where `row_lengths` come along, for each row by itself: causal, without any mask.

    Shapes: query (1, heads, N, size), key and value with their own heads; result (1, N, heads, size).
    """
    if row_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    parts = zip(*(each.split(row_lengths, dim=2) for each in (query, key, value)), strict=True)
    attended = [sdpa_attention_forward(module, q, k, v, None, **{**options, "is_causal": True})[0] for q, k, v in parts]
    return torch.cat(attended, dim=1), None


AttentionInterface.register(ROW_BY_ROW, _attend)
AttentionMaskInterface.register(ROW_BY_ROW, sdpa_mask)


def packed_hidden(model: PreTrainedModel, ids: torch.Tensor, row_lengths: tuple[int, ...]) -> torch.Tensor:
    """The decoder's last hidden states, (N, hidden), for rows that lie end to end in `ids` (N,). See `can_pack`."""
    positions = torch.cat([torch.arange(length, device=ids.device) for length in row_lengths])  # (N,)
    # Transformers hands a mask of four axes on as it is. This one is never looked at; without it, it would build
    # (N, N) entries from the positions.
    unused_mask = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids.device)
    decoder: Any = model.get_decoder()
    found = decoder(
        input_ids=ids[None], position_ids=positions[None], attention_mask=unused_mask, use_cache=False,
        row_lengths=row_lengths,
    )  # fmt: skip
    return found.last_hidden_state[0]


def can_pack(model: PreTrainedModel, ids: torch.Tensor, alone: torch.Tensor) -> bool:
    """Switch the model to this attention and try: does a row (ids, (T,)) come out behind another as it does `alone`?

    `alone`: the row's last hidden states with sdpa, (T, hidden).

    False, and the model as it was, where it does not: models with a memory beside attention, with positions of
    their own making, with other attention than sdpa. Everything but training goes on as with sdpa.
    """
    if model.config._attn_implementation not in ("sdpa", ROW_BY_ROW) or not _is_attention_only(model):
        return False
    was_training = model.training
    model.eval()
    model.set_attn_implementation(ROW_BY_ROW)
    try:
        is_exact = _comes_out_alike(model, ids, alone)
    except (TypeError, ValueError, RuntimeError, IndexError):
        is_exact = False  # it takes no such input, which each architecture says in its own way
    if not is_exact:
        model.set_attn_implementation("sdpa")
    model.train(was_training)
    return is_exact


def _comes_out_alike(model: PreTrainedModel, ids: torch.Tensor, alone: torch.Tensor) -> bool:
    length = len(ids)
    with torch.no_grad():
        behind = packed_hidden(model, torch.cat([ids.flip(0), ids]), (length, length))[length:]
    tolerance = (1e-4 if alone.dtype == torch.float32 else 0.03) * alone.abs().max()
    return bool(torch.isfinite(alone).all() and (behind - alone).abs().max() <= tolerance)


def longest_packable(model: PreTrainedModel) -> int:
    """Longer rows look back over a window, which `can_pack` has not tried; those passes are padded."""
    config: Any = model.config.get_text_config()
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((window for window in windows if window), default=2**31)


def _is_attention_only(model: PreTrainedModel) -> bool:
    """Takes positions, hands what it does not know on to attention, and names no layer that remembers otherwise."""
    takes = inspect.signature(model.get_decoder().forward).parameters
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return (
        "position_ids" in takes
        and any(each.kind is each.VAR_KEYWORD for each in takes.values())
        and all("attention" in kind and "linear" not in kind for kind in kinds)
    )
