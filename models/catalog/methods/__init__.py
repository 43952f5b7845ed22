"""The PEFT methods, one file each, found by import."""

import pkgutil
from importlib import import_module
from typing import Any

from models.catalog.methods.base import Family, Method
from models.domain.training import MethodChoice


def _found() -> dict[str, Method[Any]]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    methods: list[Method[Any]] = [import_module(f"{__name__}.{name}").METHOD for name in names]
    families = list(Family)
    methods.sort(key=lambda method: (families.index(method.family), method.name != MethodChoice().name, method.title))
    return {method.name: method for method in methods}


METHODS: dict[str, Method[Any]] = _found()
