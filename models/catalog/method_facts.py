"""Which method works on which quantisation and kind of base: read from a table that the tests measure, never guessed.

`python -m tests.method_facts` writes the table; `tests/contract/test_method_facts.py` says when it is no longer true.
"""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path

from models.catalog.methods import METHODS
from models.catalog.targets import has_experts
from models.domain.base_model import Shapes
from models.domain.errors import Code, Invalid
from models.domain.training import Quantisation, Spec

FACTS = Path(__file__).with_name("method_facts.json")


class Structure(StrEnum):
    DENSE = "dense"
    MOE = "moe"  # a mixture of experts


class Fact(Spec):
    """`batches`: rows of this adapter and of the bare base share a forward pass. `why` is what a library said."""

    trains: bool
    reloads: bool
    merges: bool
    batches: bool
    why: str = ""


@cache
def fact(method: str, quantisation: Quantisation, structure: Structure = Structure.DENSE) -> Fact | None:
    """None where nobody has measured it."""
    found = json.loads(FACTS.read_text()).get(method, {}).get(quantisation, {}).get(structure)
    return None if found is None else Fact.model_validate(found)


def structure_of(shapes: Shapes) -> Structure:
    return Structure.MOE if has_experts(shapes) else Structure.DENSE


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
