"""Whether a training can go on from an adapter: the same method, in the same shape. Knows words, no tensors."""

from collections.abc import Mapping
from typing import Any

from models.catalog.methods import METHODS
from models.domain.errors import Code, Invalid
from models.domain.training import MethodChoice

FREE = ("dropout", "ratio")  # how it is trained, not what it is
PARAM = "start_adapter"


def method_of(manifest: Mapping[str, Any]) -> MethodChoice:
    """The method and options that the adapter was made with."""
    return MethodChoice(name=manifest["method"], options=dict(manifest["method_options"]))


def check_same_shape(choice: MethodChoice, manifest: Mapping[str, Any]) -> None:
    """Raises Invalid with code `invalid_setting` naming what differs between the choice and the adapter's own."""
    own = method_of(manifest)
    if choice.name != own.name:
        _refuse(f"it was made by the method {own.name} and this training uses {choice.name}")
    if not METHODS[choice.name].is_continuable:
        raise Invalid(
            f"an adapter of {METHODS[choice.name].title} cannot be trained on: the network that wrote its tokens is "
            "not part of it. Begin afresh, with its rows and the new ones.",
            code=Code.INVALID_SETTING,
            param=PARAM,
        )
    options = METHODS[choice.name].options
    wished = options.model_validate(choice.options).model_dump(mode="json")
    had = options.model_validate(own.options).model_dump(mode="json")
    for name, value in had.items():
        if name not in FREE and not _is_same(value, wished[name]):
            _refuse(f"its {name} is {_told(value)} and this training's is {_told(wished[name])}")


def _is_same(one: Any, other: Any) -> bool:
    """One name and a list of it are the same."""
    return _listed(one) == _listed(other)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _refuse(difference: str) -> None:
    raise Invalid(
        f"this training cannot continue from that adapter: {difference}. Take the adapter's own, or begin afresh.",
        code=Code.INVALID_SETTING,
        param=PARAM,
    )
