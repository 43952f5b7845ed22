"""The sources of base models, one file each, found by import. Decides which one a reference means; fetches nothing."""

import pkgutil
from importlib import import_module

from models.catalog.sources.base import Source
from models.domain.errors import Code, Invalid


def _found() -> dict[str, Source]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    sources: tuple[Source, ...] = tuple(import_module(f"{__name__}.{name}").SOURCE for name in names)
    return {entry.name: entry for entry in sources}


SOURCES: dict[str, Source] = _found()


def detect(reference: str) -> Source:
    """The source a reference means. Raises Invalid naming the forms there are."""
    for entry in SOURCES.values():
        if entry.sniff(reference):
            return entry
    forms = "; ".join(f"{entry.title}: {entry.example}" for entry in SOURCES.values())
    raise Invalid(f"{reference[:200]!r} is no base model reference. Known forms: {forms}.", code=Code.INVALID_BASE)


def source_named(name: str) -> Source:
    """Raises Invalid naming the sources there are."""
    if name not in SOURCES:
        raise Invalid(
            f"{name[:60]!r} is no source of base models; the sources are {', '.join(SOURCES)}. Choose one of them.",
            code=Code.INVALID_BASE,
        )
    return SOURCES[name]
