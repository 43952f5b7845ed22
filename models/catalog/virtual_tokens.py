"""How much room a method's virtual tokens take before every row. Knows options, no tensors."""

from collections.abc import Mapping
from typing import Any

from models.catalog.methods import METHODS
from models.domain.training import MethodChoice


def tokens_in_front(choice: MethodChoice) -> int:
    """Positions of the base's context that stand before every row; 0 for most methods."""
    return tokens_of(choice.name, choice.options)


def tokens_of(method: str, options: Mapping[str, Any]) -> int:
    """The same, of an adapter, whose method this program may no longer know."""
    found = METHODS.get(method)
    return 0 if found is None else found.in_front(found.options.model_validate(dict(options)))
