"""Which turns of a conversation are trained, and what is left of it without its oldest ones. Knows no tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from models.domain.errors import Code, Invalid
from models.domain.example import Conversation, Role, Turn
from models.domain.training import TrainOn


def trained_turns(talk: Conversation, train_on: TrainOn) -> list[int]:
    """Their places in the conversation; with ALL the last answer alone, at which the whole conversation ends.

    Raises Invalid with code `mask` where there are none.
    """
    answers = [number for number, turn in enumerate(talk.turns) if turn.role is Role.ASSISTANT]
    match train_on:
        case TrainOn.ASSISTANT:
            trained = [number for number in answers if talk.turns[number].weight]
        case TrainOn.LAST_TURN:
            trained = [number for number in answers[-1:] if talk.turns[number].weight]
        case TrainOn.ALL:
            trained = [number for number in answers if talk.turns[number].weight][-1:]
        case _:
            assert_never(train_on)
    if not trained:
        raise Invalid(
            "no answer of the assistant would be trained; a row needs one of weight 1. Fix the row or leave it out.",
            code=Code.MASK,
            kind="nothing_trained",
        )
    return trained


def muted_turns(talk: Conversation, before: int) -> list[int]:
    """The places of the answers of weight 0 before this turn."""
    return [
        number for number, turn in enumerate(talk.turns[:before]) if turn.role is Role.ASSISTANT and not turn.weight
    ]


def opening_turns(talk: Conversation) -> int:
    """How many system turns open the conversation."""
    return next((i for i, turn in enumerate(talk.turns) if turn.role is not Role.SYSTEM), len(talk.turns))


def without_oldest(talk: Conversation, last: int) -> tuple[Conversation | None, int]:
    """The turns up to `last` without the oldest exchange (system turns stay), and how many turns that took.

    (None, 0) where the answer's own exchange is all that is left.
    """
    opening = opening_turns(talk)
    for number in range(opening + 1, last):
        if talk.turns[number].role is Role.USER:
            kept = talk.turns[:opening] + talk.turns[number : last + 1]
            return talk.model_copy(update={"turns": kept}), number - opening
    return None, 0


def continued(prompt: Sequence[Turn], continuation: Sequence[Turn], tools: Sequence[Mapping[str, Any]]) -> Conversation:
    """A prompt and one continuation of it as a conversation in which only the continuation is trained."""
    context = [turn.model_copy(update={"weight": 0}) if turn.role is Role.ASSISTANT else turn for turn in prompt]
    return Conversation(turns=(*context, *continuation), tools=tuple(dict(tool) for tool in tools))
