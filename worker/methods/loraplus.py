"""LoRA+: B learns at a multiple of A's rate. Source: arXiv:2402.12354."""

from peft import PeftModel

from models.catalog.methods.loraplus import LoraPlusOptions
from worker.methods.rates import Rates


def begin(model: PeftModel, options: LoraPlusOptions) -> Rates:
    """Plain LoRA; every B at `ratio` times the rate of the schedule."""
    names = [name for name, _ in model.named_parameters()]
    return Rates(times={name: options.ratio for name in names if ".lora_B." in name})
