"""The dataset formats, one file each, found by import."""

import pkgutil
from importlib import import_module

from models.catalog.formats.base import Format


def _found() -> dict[str, Format]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    formats: tuple[Format, ...] = tuple(import_module(f"{__name__}.{name}").FORMAT for name in names)
    return {entry.name: entry for entry in formats}


FORMATS: dict[str, Format] = _found()
