"""Rows laid end to end without padding: layers see real tokens only, and attention alone sees where rows begin.

A packed row has the loss and the gradient it has alone: positions restart with each row, and attention takes the
rows one by one. What rows have in common at their beginning is there once (beginnings.py), and attention puts it
before each of them. `can_pack` measures on the model at hand whether that is so; where it is not, rows are padded.
Knows models and tensors, neither rows of data nor jobs.
"""

import inspect
from typing import Any

import torch
from torch.nn.modules.dropout import _DropoutNd
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from worker.train.beginnings import Laid, lay

ROW_BY_ROW = "row_by_row"  # the name of this attention in a model's config


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    laid: Laid | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Like `sdpa`, and where rows come `laid`, each piece by itself: causal, behind those that lead to it.

    Shapes: query (1, heads, N, size), key and value with their own heads; result (1, N, heads, size).
    """
    if laid is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    queries, keys, values = (each.split(laid.lengths, dim=2) for each in (query, key, value))
    attended = []
    for piece, before in enumerate(laid.before):
        key, value, mask = keys[piece], values[piece], None
        if before:
            key, value = (torch.cat([each[one] for one in (*before, piece)], dim=2) for each in (keys, values))
            mask = laid.mask(piece, query)
        how = {**options, "is_causal": mask is None}
        attended.append(sdpa_attention_forward(module, queries[piece], key, value, mask, **how)[0])
    return torch.cat(attended, dim=1), None


AttentionInterface.register(ROW_BY_ROW, _attend)
AttentionMaskInterface.register(ROW_BY_ROW, sdpa_mask)


def packed_hidden(model: PreTrainedModel, laid: Laid) -> torch.Tensor:
    """The decoder's last hidden states, (N, hidden), for rows that lie end to end. See `can_pack`."""
    ids, positions = (torch.tensor([each], device=model.device) for each in (laid.ids, laid.positions))  # (1, N)
    # Transformers hands a mask of four axes on as it is. This one is never looked at; without it, it would build
    # (N, N) entries from the positions.
    unused_mask = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids.device)
    decoder: Any = model.get_decoder()
    found = decoder(input_ids=ids, position_ids=positions, attention_mask=unused_mask, use_cache=False, laid=laid)
    return found.last_hidden_state[0]


def can_pack(model: PreTrainedModel, ids: torch.Tensor, alone: torch.Tensor) -> bool:
    """Switch the model to this attention and try: does a row (ids, (T,)) come out behind others as it does `alone`?

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
    """Behind a row that has nothing, and behind one that has its beginning in common with it."""
    row = ids.tolist()
    middle = (len(row) + 1) // 2
    laid = lay([row[::-1], row[:middle] + row[:middle], row], worth=1)
    with torch.no_grad():
        behind = packed_hidden(model, laid)[laid.places[2]]
    tolerance = (1e-4 if alone.dtype == torch.float32 else 0.03) * alone.abs().max()
    return bool(torch.isfinite(alone).all() and (behind - alone).abs().max() <= tolerance)


def longest_packable(model: PreTrainedModel) -> int:
    """Longer rows look back over a window, which `can_pack` has not tried; those passes are padded."""
    config: Any = model.config.get_text_config()
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((window for window in windows if window), default=2**31)


def draws(model: PreTrainedModel) -> bool:
    """Does it drop values at random while it trains? Then a beginning differs from row to row."""
    options = model.config.get_text_config().to_dict().items()
    named = [value for name, value in options if "drop" in name and isinstance(value, (int, float))]
    layers = [module.p for module in model.modules() if isinstance(module, _DropoutNd)]
    return any(share > 0 for share in named + layers)


def _is_attention_only(model: PreTrainedModel) -> bool:
    """Takes positions, hands what it does not know on to attention, and names no layer that remembers otherwise."""
    takes = inspect.signature(model.get_decoder().forward).parameters
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return (
        "position_ids" in takes
        and any(each.kind is each.VAR_KEYWORD for each in takes.values())
        and all("attention" in kind and "linear" not in kind for kind in kinds)
    )
