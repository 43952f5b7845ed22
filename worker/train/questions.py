"""Held-out questions that a model in training answers for people to read. Renders, and runs no model."""

from dataclasses import dataclass

from models.domain.errors import Invalid
from models.domain.example import Conversation, Example, Labelled, Preference, Role
from models.domain.training import DataSpec, TrainOn
from worker.data.render import Renderer
from worker.data.turns import continued


@dataclass(frozen=True, kw_only=True)
class Question:
    """A held-out question: the prompt as chat sends it, in words what was asked last, and the row's own answer."""

    prompt_ids: tuple[int, ...]
    prompt: str
    reference: str


def talk_of(example: Example) -> Conversation | None:
    """What a held-out row shows as a right answer: of two the better one. None: a text, or an answer judged bad."""
    match example:
        case Conversation():
            return example
        case Preference():
            return continued(example.prompt, example.chosen, example.tools)
        case Labelled(label=True):
            return continued(example.prompt, example.completion, example.tools)
        case _:
            return None


def question_of(renderer: Renderer, talk: Conversation, spec: DataSpec) -> Question | None:
    """Up to the first answer that counts; None where it is too long, or this base cannot write it."""
    turns = talk.turns
    first = next((i for i, turn in enumerate(turns) if turn.role is Role.ASSISTANT and turn.weight), None)
    if not first:
        return None
    asked = talk.model_copy(update={"turns": turns[: first + 1]})
    try:
        rendered = renderer.render(
            asked, TrainOn.LAST_TURN, spec.max_length, template_arguments=spec.template_arguments
        )
    except Invalid:
        return None
    if not rendered:
        return None
    ids, span = rendered[0].ids, rendered[0].spans[0]
    prompt = next((turn.content for turn in reversed(turns[:first]) if turn.role is Role.USER), turns[0].content)
    reference = renderer.tokenizer.decode(ids[span.start : span.end], skip_special_tokens=True)
    return Question(prompt_ids=tuple(ids[: span.start]), prompt=prompt.strip(), reference=reference.strip())
