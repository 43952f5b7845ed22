"""What a PEFT method is to the form, the API and the training child: options, cost and PEFT's own config as data.

Knows shapes, never tensors. A method that PEFT's config cannot express adds `worker/methods/<name>.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import Spec

ALL_LINEAR = "all-linear"

OptionsT = TypeVar("OptionsT", bound=Spec)


@dataclass(frozen=True, kw_only=True)
class Method(Generic[OptionsT]):
    """One way to train few parameters. `options` is the frozen model that form, API and job share.

    `cost` counts trainable parameters. `peft_config` gives a dict for `peft.get_peft_config`. `is_mergeable` says
    whether the result can be added into the base's own weights.
    """

    name: str
    title: str
    description: str
    is_mergeable: bool
    options: type[OptionsT]
    cost: Callable[[Shapes, OptionsT], int]
    peft_config: Callable[[Shapes, OptionsT], dict[str, Any]]


def adapted_modules(shapes: Shapes, targets: str | tuple[str, ...]) -> tuple[ModuleShape, ...]:
    """The linear layers that `targets` means: all but the head and routers, or those with the given last names.

    Raises Invalid with code `invalid_setting` for a name that no such layer has.
    """
    candidates = [module for module in shapes.modules if module.kind == "linear" and not _is_head_or_router(module)]
    if targets == ALL_LINEAR:
        return tuple(candidates)
    wanted = {targets} if isinstance(targets, str) else set(targets)
    known = {_last_name(module) for module in candidates}
    unknown = sorted(wanted - known)
    if unknown:
        raise Invalid(
            f"this base has no linear layer named {unknown[0]}; it has {', '.join(sorted(known))}. "
            f'Choose among those or "{ALL_LINEAR}".',
            code=Code.INVALID_SETTING,
            param="method.options.targets",
        )
    return tuple(module for module in candidates if _last_name(module) in wanted)


def module_names(shapes: Shapes, modules: tuple[ModuleShape, ...]) -> list[str]:
    """What PEFT is told: sorted last names where those mean exactly `modules`, else their full names."""
    last_names = sorted({_last_name(module) for module in modules})
    meant = [module for module in shapes.modules if _last_name(module) in last_names]
    return last_names if len(meant) == len(modules) else sorted(module.name for module in modules)


def _last_name(module: ModuleShape) -> str:
    return module.name.rpartition(".")[2]


def _is_head_or_router(module: ModuleShape) -> bool:
    """The head is as large as the vocabulary; a router decides which expert runs and is left as it was trained."""
    return module.tied_to is not None or _last_name(module) in ("lm_head", "embed_out", "gate", "router")
