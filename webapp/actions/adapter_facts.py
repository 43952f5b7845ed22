"""What an adapter's manifest says, picked out for people. A manifest of another version may lack any of it."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from models.catalog.methods import METHODS
from models.domain.base_model import Shapes


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """Losses are per trained token, in nats. `before` and `after` are held out where that was measured."""

    method: str
    is_mergeable: bool
    rank: int | None
    alpha: float | None
    dropout: float | None
    targets: str | None
    is_held_out: bool
    before: float | None
    after: float | None
    first_loss: float | None
    last_loss: float | None
    rows: int | None
    steps: int | None
    trained_tokens: int | None
    seed: int | None
    device: str | None


def facts_of(manifest: dict[str, Any]) -> AdapterFacts:
    name = str(manifest.get("method", ""))
    options, data = manifest.get("method_options") or {}, manifest.get("data") or {}
    targets = options.get("targets")
    first, last = data.get("first_loss"), data.get("last_loss")
    before, after = data.get("heldout_loss_before"), data.get("heldout_loss_after")
    is_held_out = after is not None
    return AdapterFacts(
        method=METHODS[name].title if name in METHODS else name or "unknown",
        is_mergeable=name not in METHODS or METHODS[name].is_mergeable,
        rank=options.get("rank"),
        alpha=options.get("alpha"),
        dropout=options.get("dropout"),
        targets=", ".join(targets) if isinstance(targets, list | tuple) else targets,
        is_held_out=is_held_out,
        before=before if is_held_out else first,
        after=after if is_held_out else last,
        first_loss=first,
        last_loss=last,
        rows=data.get("rows"),
        steps=data.get("steps"),
        trained_tokens=data.get("trained_tokens"),
        seed=manifest.get("seed"),
        device=(manifest.get("machine") or {}).get("device"),
    )


def trained_parameters(manifest: dict[str, Any], shapes: dict[str, Any]) -> int | None:
    """How many weights were trained, by the method's own rule; None where it cannot be told."""
    method = METHODS.get(str(manifest.get("method", "")))
    if method is None:
        return None
    try:
        options = method.options.model_validate(manifest.get("method_options") or {})
        return method.cost(Shapes.model_validate(shapes), options)
    except ValidationError:
        return None
