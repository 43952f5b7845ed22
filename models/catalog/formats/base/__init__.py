"""What dataset formats are made of: the contract, the words of refusal, and turns as people write them.

A format imports from here and from no other format. To add one, add a file beside this folder that exports FORMAT.
"""

from models.catalog.formats.base.calls import tools_of
from models.catalog.formats.base.contract import Field, Format, Problem
from models.catalog.formats.base.order import check_answered, check_order, no_answer
from models.catalog.formats.base.plain import cannot_hold, is_plain, plain_turns, split_system
from models.catalog.formats.base.refusal import (
    as_list,
    as_object,
    json_value,
    optional_text,
    refused,
    required_text,
    shown,
)
from models.catalog.formats.base.turns import spoken_turns, turns_of
from models.catalog.formats.base.writing import details_of, messages_of

__all__ = [
    "Field",
    "Format",
    "Problem",
    "as_list",
    "as_object",
    "cannot_hold",
    "check_answered",
    "check_order",
    "details_of",
    "is_plain",
    "json_value",
    "messages_of",
    "no_answer",
    "optional_text",
    "plain_turns",
    "refused",
    "required_text",
    "shown",
    "split_system",
    "spoken_turns",
    "tools_of",
    "turns_of",
]
