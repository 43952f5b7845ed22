"""Turns examples into token ids and marks which of them carry loss; also writes the prompts that chat sends.

Serving law: the tokens before each trained answer are exactly what `prompt` gives for the turns before it. Answers
are found by rendering prefixes and comparing, never by searching for token ids: SmolLM2 pads with its stop token.
What is shown to people and what is trained come from the same lines here. Knows no torch, no transformers, no files
but the base's folder.

Each refusal names its kind in `facts["kind"]`, each note in `note_kinds`: `models.domain.reports.Finding` has them.
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
from worker.data.rendered import Rendered, Span, Written, parts_of, stretch
from worker.data.template import ChatTemplate, default_source
from worker.data.tokens import Encoded, Tokens
from worker.data.turns import continued, muted_turns, opening_turns, trained_turns, without_oldest
from worker.data.vanished import check_nothing_vanished

UNROLLED = ("unrolled", "one sequence per answer: this base's template writes earlier turns differently.")
UNKNOWN = ("unknown_characters", "this base's tokenizer has no tokens for some characters of this row.")
TRAINED_IN_PART = ("trained_in_part", "turns after the last trained answer are left out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """One trained turn with everything before it; `start` and `end` are its token positions."""

    turn: int
    prompt_text: str
    text: str
    encoded: Encoded
    start: int
    end: int
    is_stop_added: bool


class Renderer:
    """Renders for one base. `notes` says what was decided for it; `stop_token_ids` end an answer when served.

    `shows_texts`: sequences carry the text of each token, for people. Nothing else is different.
    """

    def __init__(
        self, base: BaseFolder, *, now: Callable[[], datetime] = datetime.now, shows_texts: bool = False
    ) -> None:
        self.tokenizer = base.tokenizer
        unknown = base.special_tokens.get("unk_token")
        self._tokens = Tokens(base.tokenizer, unknown=unknown, shows_texts=shows_texts)
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
    def from_folder(
        cls, base_dir: Path, *, now: Callable[[], datetime] = datetime.now, shows_texts: bool = False
    ) -> Self:
        """Read a base's folder. Pass `now` where the date in a template must not move (a resumed training).

        Raises Invalid with code `invalid_base` or `template`.
        """
        return cls(read_base_folder(base_dir), now=now, shows_texts=shows_texts)

    @property
    def chat_template(self) -> str:
        """The source in use for rows without tools."""
        return self._template(()).source

    @property
    def special_token_ids(self) -> frozenset[int]:
        return self._tokens.special

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        template_arguments: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The ids chat sends for OpenAI-shaped messages, up to the opening of the assistant's answer."""
        return self._tokens.encode(self._prompt_text(turns_of(messages), tools, template_arguments or {})).ids

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
        """The sequences of one row: usually one; one per answer where the template rewrites earlier turns; one per
        part of a long text that is split; the better and the worse answer of a preference pair.

        An empty list means that the row is longer than `max_length` tokens and was dropped. Raises Invalid with
        code `template` (the base cannot express the row) or `mask` (nothing to train), naming `row` if given.
        """
        try:
            written = self.write(example, train_on, max_length, over_long, template_arguments)
            return [each.sequence for each in written if each.is_used]
        except Invalid as refusal:
            if row is None:
                raise
            raise Invalid(f"row {row}: {refusal.message}", code=refusal.code, **{**refusal.facts, "row": row}) from None

    def write(
        self,
        example: Example,
        train_on: TrainOn = TrainOn.ASSISTANT,
        max_length: int = 2048,
        over_long: OverLong = OverLong.DROP,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        """Every sequence of any kind of row, also those too long to be used. Raises as `render`.

        A row to compare answers by has two, of which both or none are used.
        """
        arguments = template_arguments or {}
        match example:
            case Text():
                whole = self._document(example)
                if len(whole.ids) > max_length and over_long is OverLong.SPLIT_TEXT:
                    return parts_of(whole, max_length, self._decode)
                return [Written(label="", sequence=whole, is_used=len(whole.ids) <= max_length)]
            case Conversation():
                trained, is_all = trained_turns(example, train_on), train_on is TrainOn.ALL
                sequences = self._fit(example, trained, max_length, over_long, arguments, is_all=is_all)
                labels = [f"answer {number}" if len(sequences) > 1 else "" for number in range(1, len(sequences) + 1)]
            case Preference():
                sequences = [
                    self._continuation(example, each, arguments) for each in (example.chosen, example.rejected)
                ]
                self._check_prompt(*sequences)
                labels = ["chosen", "rejected"]
                if any(len(each.ids) > max_length for each in sequences):
                    max_length = 0
            case Labelled():
                sequences, labels = [self._continuation(example, example.completion, arguments)], [""]
            case _:
                assert_never(example)
        return [
            Written(label=label, sequence=each, is_used=len(each.ids) <= max_length)
            for label, each in zip(labels, sequences, strict=True)
        ]

    # -- one conversation ---------------------------------------------------------------------------------------

    def _check_prompt(self, chosen: Rendered, rejected: Rendered) -> None:
        """Raises Invalid where the two do not begin alike: their difference would be more than the answer."""
        one, other = (each.ids[: each.spans[0].start] for each in (chosen, rejected))
        if one != other:
            raise Invalid(
                "this base's template writes the prompt of the two answers differently, so they cannot be compared "
                "token by token. Shorten the answers to one turn, or choose another base.",
                code=Code.TEMPLATE,
                kind="serving_law",
            )

    def _continuation(
        self, example: Preference | Labelled, turns: Sequence[Turn], arguments: Mapping[str, Any]
    ) -> Rendered:
        """All answers of one continuation, the last one at its end."""
        talk = continued(example.prompt, turns, example.tools)
        return self._sequences(talk, trained_turns(talk, TrainOn.ASSISTANT), arguments)[-1]

    def _fit(
        self,
        talk: Conversation,
        trained: Sequence[int],
        max_length: int,
        over_long: OverLong,
        arguments: Mapping[str, Any],
        *,
        is_all: bool = False,
    ) -> list[Rendered]:
        """The sequences. Whole turns are left out, oldest first, where asked for; an answer is never cut.

        One that stays too long stands among them as it is.
        """
        fitting: list[Rendered] = []
        for found in self._sequences(talk, trained, arguments):
            sequence = self._whole(talk, found, arguments) if is_all else found
            shorter: list[Rendered] = []
            if len(sequence.ids) > max_length and over_long is OverLong.DROP_OLDEST_TURNS:
                shorter = self._shortened(talk, sequence, max_length, arguments, is_all=is_all)
            fitting += shorter or [sequence]
        return fitting

    def _shortened(
        self, talk: Conversation, sequence: Rendered, max_length: int, arguments: Mapping[str, Any], *, is_all: bool
    ) -> list[Rendered]:
        shorter, dropped = without_oldest(talk, sequence.spans[-1].turn)
        if shorter is None:
            return []
        opening = opening_turns(shorter)
        turns = {span.turn - dropped: None for span in sequence.spans}
        kept = [turn for turn in turns if turn >= opening]
        fitted = self._fit(shorter, kept, max_length, OverLong.DROP_OLDEST_TURNS, arguments, is_all=is_all)
        note = f"the oldest turns are left out to fit {max_length} tokens."
        return [each.noted("oldest_left_out", note) for each in fitted if len(each.ids) <= max_length]

    def _sequences(self, talk: Conversation, trained: Sequence[int], arguments: Mapping[str, Any]) -> list[Rendered]:
        answers = [self._answer(talk, turn, arguments) for turn in trained]
        whole = answers[-1].encoded.ids
        # Equal tokens up to each answer's end: then one sequence keeps the serving law for all of them.
        is_one = all(whole[: each.end] == each.encoded.ids[: each.end] for each in answers)
        sequences: list[Rendered] = []
        for group in [answers] if is_one else [[each] for each in answers]:
            last = group[-1]
            own = {each.turn: each.text[len(each.prompt_text) :] for each in group}
            check_nothing_vanished(last.text, talk.turns[: last.turn + 1], talk.tools, own)
            sequence = Rendered(
                ids=last.encoded.ids, text=last.text, texts=tuple(last.encoded.texts),
                spans=tuple(Span(turn=each.turn, start=each.start, end=each.end) for each in group),
            )  # fmt: skip
            if not is_one:
                sequence = sequence.noted(*UNROLLED)
            if self._tokens.has_unknown(last.encoded, last.text):
                sequence = sequence.noted(*UNKNOWN)
            if trained[-1] + 1 < len(talk.turns):
                sequence = sequence.noted(*TRAINED_IN_PART)
            if last.is_stop_added:
                sequence = sequence.noted(
                    "stop_added",
                    f"this base's template ends no answer, so its own {self.eos_token} was added to each.",
                )
            sequences.append(sequence)
        return sequences

    def _whole(self, talk: Conversation, sequence: Rendered, arguments: Mapping[str, Any]) -> Rendered:
        """The same tokens, every one after the first trained but those of answers of weight 0."""
        last, start = sequence.spans[-1].turn, 1
        spans: list[Span] = []
        for turn in muted_turns(talk, last):
            muted = self._answer(talk, turn, arguments)
            if sequence.ids[: muted.end] != muted.encoded.ids[: muted.end]:
                raise Invalid(
                    f"message {turn + 1} has weight 0, and this base's template writes it differently once the "
                    "conversation goes on, so it cannot be kept out of the loss. Learn from every answer instead.",
                    code=Code.MASK,
                    kind="serving_law",
                    param=f"messages[{turn}].weight",
                )
            if start < muted.start:
                spans.append(Span(turn=last, start=start, end=muted.start))
            start = muted.end
        return replace(sequence, spans=(*spans, Span(turn=last, start=start, end=len(sequence.ids))))

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
                kind="serving_law",
                param=f"messages[{turn}]",
            )
        prompt = self._tokens.encode(prompt_text)
        start = len(prompt.ids)
        encoded = self._continued(prompt, prompt_text, text)
        end = self._tokens.stop_end(encoded.ids, start, self.stop_token_ids)
        is_stop_added = end is None
        if end is None:
            # The template never says that the turn is over, so we do, with the base's own end.
            text = prompt_text + text[len(prompt_text) :].rstrip()
            encoded, text = self._ended(self._continued(prompt, prompt_text, text)), text + self.eos_token
            end = len(encoded.ids)
        early = next((each for each in encoded.ids[start : end - 1] if each in self.stop_token_ids), None)
        if early is not None:
            raise Invalid(
                f"the answer of message {turn + 1} contains {self.tokenizer.id_to_token(early)}, which ends a turn of "
                "this base; the model would learn to stop there. Remove it from the row.",
                code=Code.TEMPLATE,
                kind="stop_inside_answer",
                param=f"messages[{turn}].content",
            )
        return _Answer(
            turn=turn, prompt_text=prompt_text, text=text, encoded=encoded, start=start, end=end,
            is_stop_added=is_stop_added,
        )  # fmt: skip

    def _continued(self, prompt: Encoded, prompt_text: str, text: str) -> Encoded:
        """The tokens of `text`, which begins with the prompt, beginning with the prompt's own tokens."""
        whole = self._tokens.encode(text)
        if whole.ids[: len(prompt.ids)] == prompt.ids:
            return whole
        # The answer's first letters melt with the prompt's last token; chat has already sent that token.
        return prompt + self._tokens.encode_after(text[len(prompt_text) :])

    def _ended(self, encoded: Encoded) -> Encoded:
        return encoded.plus(self.eos_token_id, self.eos_token, is_shown=self._tokens.shows_texts)

    # -- one text -----------------------------------------------------------------------------------------------

    def _document(self, example: Text) -> Rendered:
        """Every token of a plain text after its first, and the EOS that ends it."""
        encoded, text = self._tokens.encode(example.text, add_special_tokens=True), self._tokens.framed(example.text)
        if encoded.ids[-1:] != [self.eos_token_id]:
            encoded, text = self._ended(encoded), text + self.eos_token
        whole = stretch(encoded, text)
        return whole.noted(*UNKNOWN) if self._tokens.has_unknown(encoded, text) else whole

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    # -- templates ----------------------------------------------------------------------------------------------

    def _turn_end(self, known: set[int]) -> int | None:
        """The special token that this template writes after an answer, found on a trial; None if it writes none."""
        turns = (Turn(role=Role.USER, content="a"), Turn(role=Role.ASSISTANT, content="b"))
        template = self._template(())
        try:
            prompt = template.render(turns[:1], (), is_prompt=True, arguments=self.special_tokens)
            text = template.render(turns, (), is_prompt=False, arguments=self.special_tokens)
        except Invalid:
            return None
        ids, start = self._tokens.encode(text).ids, len(self._tokens.encode(prompt).ids)
        end = self._tokens.stop_end(ids, start, known | self._tokens.special)
        return None if end is None else ids[end - 1]

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
        first = self._tokens.encode("a", add_special_tokens=True).ids[:1]
        source = default_source(writes_bos=bos is not None and first == [base.tokenizer.token_to_id(bos)])
        note = (
            "This base has no chat template. Turns are written as plain words (User:, Assistant:) and each answer "
            f"ends with the base's own {base.special_tokens['eos_token']}."
        )
        return (note,), {"default": source}
