"""What dataset formats are made of: the contract, the words of refusal, and turns as people write them.

A format imports from here and from no other format. To add one, add a file beside this folder that exports FORMAT.
"""

from models.catalog.formats.base.asked import ASKED_FIELDS, asked_row, asked_turns
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
from models.catalog.formats.base.turns import is_spoken, spoken_turns, turns_of
from models.catalog.formats.base.verdicts import (
    CHOSEN,
    REJECTED,
    TOOLS,
    Side,
    Turns,
    check_asked,
    check_continues,
    is_verdict,
    preference_of,
    same_answers,
    side_of,
    side_row,
    verdict_of,
)
from models.catalog.formats.base.writing import details_of, messages_of

__all__ = [
    "ASKED_FIELDS",
    "CHOSEN",
    "REJECTED",
    "TOOLS",
    "Field",
    "Format",
    "Problem",
    "Side",
    "Turns",
    "as_list",
    "as_object",
    "asked_row",
    "asked_turns",
    "cannot_hold",
    "check_answered",
    "check_asked",
    "check_continues",
    "check_order",
    "details_of",
    "is_plain",
    "is_spoken",
    "is_verdict",
    "json_value",
    "messages_of",
    "no_answer",
    "optional_text",
    "plain_turns",
    "preference_of",
    "refused",
    "required_text",
    "same_answers",
    "shown",
    "side_of",
    "side_row",
    "split_system",
    "spoken_turns",
    "tools_of",
    "turns_of",
    "verdict_of",
]
