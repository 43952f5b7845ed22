"""The trackers, one file each, found by import: what a team enters for each of them. Opens nothing."""

import pkgutil
from importlib import import_module

from models.catalog.trackers.base import Tracker
from models.domain.errors import Invalid


def find_trackers() -> dict[str, Tracker]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    found: list[Tracker] = [import_module(f"{__name__}.{name}").TRACKER for name in names]
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.title.lower())}


TRACKERS: dict[str, Tracker] = find_trackers()


def tracker_named(name: str) -> Tracker:
    """Raises Invalid naming the trackers there are."""
    if name not in TRACKERS:
        raise Invalid(f"{name[:60]!r} is no tracker; the trackers are {', '.join(TRACKERS)}.", param="kind")
    return TRACKERS[name]
