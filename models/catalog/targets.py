"""Which layers of a base a method changes: words, last names or patterns, resolved on its shapes. Knows no tensors.

Patterns are globs on full names (`model.layers.[0-7].*`), never regular expressions: those of strangers can keep a
processor busy for hours.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid

ALL_LINEAR, ATTENTION, QUERY_VALUE = "all-linear", "attention", "q+v"
IN_ATTENTION = ("attn", "attention")  # of the name of the block that holds the layer
QUERY_VALUE_NAMES = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin")
PARAM = "method.options.targets"


def adapted_modules(shapes: Shapes, targets: str | tuple[str, ...], *, param: str = PARAM) -> tuple[ModuleShape, ...]:
    """The linear layers that `targets` means, in the base's order; never the head or a router.

    `targets` are "all-linear", "attention" (every layer of the attention blocks), "q+v", last names, or globs on full
    names. Raises Invalid with code `invalid_setting` for a name or pattern that no such layer has.
    """
    candidates = adaptable(shapes)
    wanted = (targets,) if isinstance(targets, str) else targets
    found = [set(_meant(one, candidates, param)) for one in wanted]
    return tuple(module for module in candidates if any(module.name in names for names in found))


def adaptable(shapes: Shapes) -> tuple[ModuleShape, ...]:
    """Linear layers that may carry an adapter: the experts of a mixture are no layers of their own once loaded."""
    return tuple(
        module
        for module in shapes.modules
        if module.kind == "linear" and not _is_head_or_router(module) and not is_expert(module)
    )


def is_expert(module: ModuleShape) -> bool:
    return ".experts." in module.name


def has_experts(shapes: Shapes) -> bool:
    """A mixture of experts: its experts stay as they are, also unquantised, and only the layers around them learn."""
    return any(is_expert(module) for module in shapes.modules)


def by_pattern(modules: tuple[ModuleShape, ...], values: Mapping[str, int], *, param: str) -> dict[str, int]:
    """Full name -> value for the modules that a name or glob in `values` means; of several the last one counts.

    Raises Invalid with code `invalid_setting` for an entry that means none of them.
    """
    found: dict[str, int] = {}
    for one, value in values.items():
        found |= dict.fromkeys(_meant(one, modules, param), value)
    return found


def module_names(shapes: Shapes, modules: tuple[ModuleShape, ...]) -> list[str]:
    """What PEFT is told: sorted last names where those mean exactly `modules`, else their full names."""
    last_names = sorted({last_name(module) for module in modules})
    meant = [module for module in shapes.modules if last_name(module) in last_names and module.kind == "linear"]
    return last_names if len(meant) == len(modules) else sorted(module.name for module in modules)


def last_name(module: ModuleShape) -> str:
    return module.name.rpartition(".")[2]


def _meant(one: str, candidates: tuple[ModuleShape, ...], param: str) -> list[str]:
    found = [module.name for module in candidates if _rule(one)(module)]
    if not found and one != ALL_LINEAR:
        known = ", ".join(sorted({last_name(module) for module in candidates}))
        what = f"that fits {one[:60]}" if any(sign in one for sign in "*?[") else f"named {one[:60]}"
        raise Invalid(
            f'this base has no linear layer {what}; it has {known}. Choose among those or "{ALL_LINEAR}".',
            code=Code.INVALID_SETTING,
            param=param,
        )
    return found


def _rule(one: str) -> Callable[[ModuleShape], bool]:
    if one == ALL_LINEAR:
        return lambda module: True
    if one == ATTENTION:
        return lambda module: any(sign in module.name.rpartition(".")[0].rpartition(".")[2] for sign in IN_ATTENTION)
    if one == QUERY_VALUE:
        return lambda module: last_name(module) in QUERY_VALUE_NAMES
    if any(sign in one for sign in "*?["):
        return lambda module: fnmatchcase(module.name, one)
    return lambda module: last_name(module) == one


def _is_head_or_router(module: ModuleShape) -> bool:
    """The head is as large as the vocabulary; a router decides which expert runs and is left as it was trained."""
    return module.tied_to is not None or last_name(module) in ("lm_head", "embed_out", "gate", "router")
