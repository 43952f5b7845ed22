"""Turns examples into token ids and marks which of them carry loss; also writes the prompts that chat sends.

Serving law: the tokens before each trained answer are exactly what `prompt` gives for the turns before it. Answers
are found by rendering prefixes and comparing, never by searching for token ids: SmolLM2 pads with its stop token.
Knows no torch, no transformers, no files but the base's folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self, assert_never

from models.catalog.formats.messages import turns_of
from models.domain.errors import Code, Invalid
from models.domain.example import Conversation, Example, Labelled, Preference, Role, Text, Turn
from models.domain.training import OverLong, TrainOn
from worker.data.base_folder import BaseFolder, read_base_folder
from worker.data.template import ChatTemplate, default_source
from worker.data.tokens import Tokens
from worker.data.vanished import check_nothing_vanished


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A trained stretch: token positions start to end (end excluded), and which turn of the row it answers."""

    turn: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One sequence to train on. `notes` are sentences for people about this row."""

    ids: list[int]
    spans: tuple[Span, ...]
    text: str
    notes: tuple[str, ...] = ()

    @property
    def trained(self) -> list[bool]:
        """For each token, whether predicting it counts in the loss. The first token never does."""
        mask = [False] * len(self.ids)
        for span in self.spans:
            mask[span.start : span.end] = [True] * (span.end - span.start)
        return mask

    @property
    def trained_tokens(self) -> int:
        return sum(span.end - span.start for span in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """One trained turn with everything before it; `start` and `end` are its token positions."""

    turn: int
    prompt_text: str
    text: str
    ids: list[int]
    start: int
    end: int


class Renderer:
    """Renders for one base. `notes` says what was decided for it; `stop_token_ids` end an answer when served."""

    def __init__(self, base: BaseFolder, *, now: Callable[[], datetime] = datetime.now) -> None:
        self.tokenizer = base.tokenizer
        self._tokens = Tokens(base.tokenizer)
        self.special_tokens = base.special_tokens
        eos = base.special_tokens.get("eos_token")
        eos_id = base.tokenizer.token_to_id(eos) if eos is not None else None
        if eos is None or eos_id is None:
            raise Invalid(
                "this base names no end-of-text token (eos_token) that its tokenizer knows; an answer could never "
                "end. Choose another base.",
                code=Code.INVALID_BASE,
            )
        self.eos_token, self.eos_token_id = eos, eos_id
        self.notes, sources = self._sources(base)
        self._templates = {name: ChatTemplate(source, now=now) for name, source in sources.items()}
        known = {eos_id, *base.generation_stop_ids}
        turn_end = self._turn_end(known)
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(known | ({turn_end} if turn_end is not None else set())))

    @classmethod
    def from_folder(cls, base_dir: Path, *, now: Callable[[], datetime] = datetime.now) -> Self:
        """Read a base's folder. Pass `now` where the date in a template must not move (a resumed training).

        Raises Invalid with code `invalid_base` or `template`.
        """
        return cls(read_base_folder(base_dir), now=now)

    @property
    def chat_template(self) -> str:
        """The source in use for rows without tools."""
        return self._template(()).source

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        template_arguments: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The ids chat sends for OpenAI-shaped messages, up to the opening of the assistant's answer."""
        return self._tokens.encode(self._prompt_text(turns_of(messages), tools, template_arguments or {}))

    def render(
        self,
        example: Example,
        train_on: TrainOn = TrainOn.ASSISTANT,
        max_length: int = 2048,
        over_long: OverLong = OverLong.DROP,
        template_arguments: Mapping[str, Any] | None = None,
        *,
        row: int | None = None,
    ) -> list[Rendered]:
        """The sequences of one row: usually one; one per answer where the template rewrites earlier turns.

        An empty list means that the row is longer than `max_length` tokens and was dropped. Raises Invalid with
        code `template` (the base cannot express the row) or `mask` (nothing to train), naming `row` if given.
        """
        try:
            match example:
                case Text():
                    return [each for each in [self._document(example)] if len(each.ids) <= max_length]
                case Conversation():
                    trained = _trained_turns(example, train_on)
                    return self._fit(example, trained, max_length, over_long, template_arguments or {})
                case Preference() | Labelled():
                    raise Invalid(
                        "a row to compare answers by cannot be trained on as an answer. Choose a dataset of "
                        "conversations or texts.",
                        code=Code.MASK,
                    )
                case _:
                    assert_never(example)
        except Invalid as refusal:
            if row is None:
                raise
            raise Invalid(f"row {row}: {refusal.message}", code=refusal.code, **{**refusal.facts, "row": row}) from None

    # -- one conversation ---------------------------------------------------------------------------------------

    def _fit(
        self,
        talk: Conversation,
        trained: Sequence[int],
        max_length: int,
        over_long: OverLong,
        arguments: Mapping[str, Any],
    ) -> list[Rendered]:
        """The sequences that fit. Whole turns are left out, oldest first, where asked for; an answer is never cut."""
        fitting: list[Rendered] = []
        for sequence in self._sequences(talk, trained, arguments):
            if len(sequence.ids) <= max_length:
                fitting.append(sequence)
            elif over_long is OverLong.DROP_OLDEST_TURNS:
                last = sequence.spans[-1].turn
                shorter, dropped = _without_oldest(talk, last)
                if shorter is not None:
                    kept = [span.turn - dropped for span in sequence.spans if span.turn - dropped >= _opening(shorter)]
                    fitted = self._fit(shorter, kept, max_length, over_long, arguments)
                    note = f"the oldest turns are left out to fit {max_length} tokens."
                    fitting += [replace(each, notes=tuple(dict.fromkeys((*each.notes, note)))) for each in fitted]
        return fitting

    def _sequences(self, talk: Conversation, trained: Sequence[int], arguments: Mapping[str, Any]) -> list[Rendered]:
        answers = [self._answer(talk, turn, arguments) for turn in trained]
        whole = answers[-1]
        # Equal tokens up to each answer's end: then one sequence keeps the serving law for all of them.
        is_one = all(whole.ids[: each.end] == each.ids[: each.end] for each in answers)
        groups = [answers] if is_one else [[each] for each in answers]
        notes: tuple[str, ...] = ()
        if not is_one:
            notes = ("one sequence per answer: this base's template writes earlier turns differently.",)
        if trained[-1] + 1 < len(talk.turns):
            notes += ("turns after the last trained answer are left out.",)
        sequences: list[Rendered] = []
        for group in groups:
            last = group[-1]
            own = {each.turn: each.text[len(each.prompt_text) :] for each in group}
            check_nothing_vanished(last.text, talk.turns[: last.turn + 1], talk.tools, own)
            spans = tuple(Span(turn=each.turn, start=each.start, end=each.end) for each in group)
            sequences.append(Rendered(ids=last.ids, spans=spans, text=last.text, notes=notes))
        return sequences

    def _answer(self, talk: Conversation, turn: int, arguments: Mapping[str, Any]) -> _Answer:
        """Render up to `turn` twice, as a prompt and with the answer; what lies between is the answer."""
        prompt_text = self._prompt_text(talk.turns[:turn], talk.tools, arguments)
        text = self._template(talk.tools).render(
            talk.turns[: turn + 1], talk.tools, is_prompt=False, arguments={**self.special_tokens, **arguments}
        )
        if not text.startswith(prompt_text):
            raise Invalid(
                f"this base's template writes the answer of message {turn + 1} differently from the prompt that chat "
                "sends before it; training on it would teach what is never asked. Change the template arguments, "
                "or choose another base.",
                code=Code.TEMPLATE,
                param=f"messages[{turn}]",
            )
        prompt_ids = self._tokens.encode(prompt_text)
        ids = self._tokens.encode(text)
        if ids[: len(prompt_ids)] != prompt_ids:
            # The answer's first letters melt with the prompt's last token; chat has already sent that token.
            ids = prompt_ids + self._tokens.encode_after(text[len(prompt_text) :])
        end = self._tokens.stop_end(ids, len(prompt_ids), self.stop_token_ids)
        if end is None:
            # The template never says that the turn is over, so we do, with the base's own end.
            ids = [*self._tokens.without_trailing_space(ids, len(prompt_ids)), self.eos_token_id]
            text, end = text.rstrip() + self.eos_token, len(ids)
        early = next((each for each in ids[len(prompt_ids) : end - 1] if each in self.stop_token_ids), None)
        if early is not None:
            raise Invalid(
                f"the answer of message {turn + 1} contains {self.tokenizer.id_to_token(early)}, which ends a turn of "
                "this base; the model would learn to stop there. Remove it from the row.",
                code=Code.TEMPLATE,
                param=f"messages[{turn}].content",
            )
        return _Answer(turn=turn, prompt_text=prompt_text, text=text, ids=ids, start=len(prompt_ids), end=end)

    def _document(self, example: Text) -> Rendered:
        """Every token of a plain text after its first, and the EOS that ends it."""
        ids = self._tokens.encode(example.text, add_special_tokens=True)
        if ids[-1:] != [self.eos_token_id]:
            ids = [*ids, self.eos_token_id]
        return Rendered(ids=ids, spans=(Span(turn=0, start=1, end=len(ids)),), text=example.text + self.eos_token)

    def _turn_end(self, known: set[int]) -> int | None:
        """The special token that this template writes after an answer, found on a trial; None if it writes none."""
        turns = (Turn(role=Role.USER, content="a"), Turn(role=Role.ASSISTANT, content="b"))
        template = self._template(())
        try:
            prompt = template.render(turns[:1], (), is_prompt=True, arguments=self.special_tokens)
            text = template.render(turns, (), is_prompt=False, arguments=self.special_tokens)
        except Invalid:
            return None
        ids, start = self._tokens.encode(text), len(self._tokens.encode(prompt))
        end = self._tokens.stop_end(ids, start, known | self._tokens.special)
        return None if end is None else ids[end - 1]

    # -- templates ----------------------------------------------------------------------------------------------

    def _prompt_text(
        self, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]
    ) -> str:
        return self._template(tools).render(
            turns, tools, is_prompt=True, arguments={**self.special_tokens, **arguments}
        )

    def _template(self, tools: Sequence[Mapping[str, Any]]) -> ChatTemplate:
        if tools and "tool_use" in self._templates:
            return self._templates["tool_use"]
        return self._templates["default"]

    def _sources(self, base: BaseFolder) -> tuple[tuple[str, ...], dict[str, str]]:
        if "default" in base.templates:
            return (), {name: text for name, text in base.templates.items() if name in ("default", "tool_use")}
        bos = base.special_tokens.get("bos_token")
        first = self._tokens.encode("a", add_special_tokens=True)[:1]
        source = default_source(writes_bos=bos is not None and first == [base.tokenizer.token_to_id(bos)])
        note = (
            "This base has no chat template. Turns are written as plain words (User:, Assistant:) and each answer "
            f"ends with the base's own {base.special_tokens['eos_token']}."
        )
        return (note,), {"default": source}


def _trained_turns(talk: Conversation, train_on: TrainOn) -> list[int]:
    answers = [number for number, turn in enumerate(talk.turns) if turn.role is Role.ASSISTANT]
    match train_on:
        case TrainOn.ASSISTANT:
            trained = [number for number in answers if talk.turns[number].weight]
        case TrainOn.LAST_TURN:
            trained = [number for number in answers[-1:] if talk.turns[number].weight]
        case _:
            assert_never(train_on)
    if not trained:
        raise Invalid(
            "no answer of the assistant would be trained; a row needs one of weight 1. Fix the row or leave it out.",
            code=Code.MASK,
        )
    return trained


def _opening(talk: Conversation) -> int:
    """How many system turns open the conversation."""
    return next((i for i, turn in enumerate(talk.turns) if turn.role is not Role.SYSTEM), len(talk.turns))


def _without_oldest(talk: Conversation, last: int) -> tuple[Conversation | None, int]:
    """The turns up to `last` without the oldest exchange (system turns stay), and how many turns that took.

    (None, 0) where the answer's own exchange is all that is left.
    """
    opening = _opening(talk)
    for number in range(opening + 1, last):
        if talk.turns[number].role is Role.USER:
            kept = talk.turns[:opening] + talk.turns[number : last + 1]
            return talk.model_copy(update={"turns": kept}), number - opening
    return None, 0
