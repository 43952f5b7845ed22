"""Tokens whose rows of the embedding, and of the head, learn beside a LoRA. Knows shapes and names, no tokenizer.

A LoRA leaves both as they are, so a token that the base has never learnt stays without meaning
(`worker.train.dead_tokens`).
"""

from collections.abc import Sequence
from typing import Any

from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid

PARAM = "method.options.trained_tokens"
MOST = 256


def tokens_cost(shapes: Shapes, tokens: Sequence[str]) -> int:
    """A row of the embedding for each, and one of the head where the base has a head of its own.

    Raises Invalid with code `invalid_setting` for an id that the base does not have.
    """
    for token in tokens:
        if token.isdecimal():
            _id(token, shapes)
    return len(set(tokens)) * sum(module.shape[1] for module in _tables(shapes)) if tokens else 0


def tokens_config(shapes: Shapes, tokens: Sequence[str]) -> dict[str, Any]:
    """PEFT's words for it; nothing where there are none. Tokens are ids by now: names are the training's to find.

    Raises Invalid with code `invalid_setting` for an id that the base does not have.
    """
    if not tokens:
        return {}
    tables, ids = _tables(shapes), sorted({_id(token, shapes) for token in tokens})
    return {
        "trainable_token_indices": {table.name.rpartition(".")[2]: ids for table in tables},
        "ensure_weight_tying": len(tables) == 1,
    }


def _id(token: str, shapes: Shapes) -> int:
    if not token.isdecimal() or int(token) >= shapes.vocabulary:
        raise _refused(f"this base has no token {token[:60]}; its ids go from 0 to {shapes.vocabulary - 1:,}")
    return int(token)


def _tables(shapes: Shapes) -> tuple[ModuleShape, ...]:
    """The embedding, and the head unless it is the embedding itself."""
    embedding = next((one for one in shapes.modules if one.kind == "embedding"), None)
    head = next((one for one in shapes.modules if one.name.rpartition(".")[2] in ("lm_head", "embed_out")), None)
    if embedding is None or embedding.shape[0] != shapes.vocabulary or head is None or head.has_bias:
        raise _refused("this base has no embedding and head that single rows can be trained of")
    return (embedding,) if head.tied_to is not None else (embedding, head)


def _refused(why: str) -> Invalid:
    return Invalid(f"{why}. Leave the tokens out, or choose others.", code=Code.INVALID_SETTING, param=PARAM)
