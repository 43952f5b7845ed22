"""What a method needs beyond PEFT's config, one file each: `<name>.py` has `begin(model, options) -> Rates | None`."""

from importlib import import_module
from importlib.util import find_spec

from peft import PeftModel

from models.domain.training import Spec
from worker.methods.rates import keep_rates


def begin(name: str, model: PeftModel, options: Spec) -> None:
    """Let the method make its first weights and rates, where it has any of its own."""
    found = find_spec(f"{__name__}.{name}")
    own = getattr(import_module(found.name), "begin", None) if found is not None else None
    rates = own(model, options) if own is not None else None
    if rates is not None:
        keep_rates(model, rates)
