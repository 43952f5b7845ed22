"""Which method works on which quantisation and kind of base: read from a table that the tests measure, never guessed.

`python -m tests.method_facts` writes the table; `tests/contract/test_method_facts.py` says when it is no longer true.
"""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path

from models.catalog.methods import METHODS
from models.catalog.targets import has_experts
from models.catalog.virtual_tokens import tokens_in_front
from models.domain.base_model import Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import Quantisation, Spec, TrainingSpec

FACTS = Path(__file__).with_name("method_facts.json")


class Structure(StrEnum):
    DENSE = "dense"
    MOE = "moe"  # a mixture of experts


class Fact(Spec):
    """`batches`: rows of this adapter and of the bare base share a forward pass. `checkpoints`: gradient checkpointing
    leaves the gradient as it is. `why` is what a library said.
    """

    trains: bool
    reloads: bool
    merges: bool
    batches: bool
    checkpoints: bool
    why: str = ""


@cache
def fact(method: str, quantisation: Quantisation, structure: Structure = Structure.DENSE) -> Fact | None:
    """None where nobody has measured it."""
    found = json.loads(FACTS.read_text()).get(method, {}).get(quantisation, {}).get(structure)
    return None if found is None else Fact.model_validate(found)


def structure_of(shapes: Shapes) -> Structure:
    return Structure.MOE if has_experts(shapes) else Structure.DENSE


def check_choice(spec: TrainingSpec, shapes: Shapes) -> None:
    """All that is known before anything is queued of the method on this base, held and computed as chosen.

    Raises Invalid with code `invalid_setting` naming the field.
    """
    check_pair(spec.method.name, spec.quantisation, shapes)
    title, found = METHODS[spec.method.name].title, fact(spec.method.name, spec.quantisation, structure_of(shapes))
    if spec.schedule.gradient_checkpointing and found is not None and not found.checkpoints:
        raise Invalid(
            f"{title} does not train with activations computed twice: what a layer computes the second time is not "
            "what it computed the first. Switch that off, or choose another method.",
            code=Code.INVALID_SETTING,
            param="schedule.gradient_checkpointing",
        )
    front = tokens_in_front(spec.method)
    if front * 2 > shapes.context_length:
        raise Invalid(
            f"{front:,} virtual tokens take more than half of the {shapes.context_length:,} tokens that this base "
            f"reads. Choose at most {shapes.context_length // 2:,}.",
            code=Code.INVALID_SETTING,
            param="method.options.tokens",
        )


def check_pair(method: str, quantisation: Quantisation, shapes: Shapes) -> None:
    """Raises Invalid with code `invalid_setting` where the method does not train on the base held so."""
    structure = structure_of(shapes)
    found = fact(method, quantisation, structure)
    if found is None or (found.trains and found.reloads):
        return
    kind = " of a mixture of experts" if structure is Structure.MOE else ""
    others = [
        one.words for one in Quantisation if (other := fact(method, one, structure)) and other.trains and other.reloads
    ]
    hold = f"Hold the base in {' or '.join(others)}, or choose" if others else "Choose"
    raise Invalid(
        f"{METHODS[method].title} does not train on a base{kind} held in {quantisation.words}. {hold} another method.",
        code=Code.INVALID_SETTING,
        param="quantisation" if others else "method.name",
    )
