"""Reads and renders the rows of one training job. Knows files and tokens, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

from models.domain.errors import Code, Invalid, JobFailed
from models.domain.example import Conversation, Example, Role
from models.domain.ids import Sha256
from models.domain.training import TrainingSpec, TrainOn
from worker.data.intake import sentence
from worker.data.render import Rendered, Renderer
from worker.data.source import FACTS, Source
from worker.data.split import group_of, split

FEWEST_ROWS = 10


class TrainingFacts(BaseModel):
    """What staging resolved: the base's public id and listing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base_name: str
    base_tree_sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class Question:
    """A held-out question: the prompt as chat sends it, in words what was asked last, and the row's own answer."""

    prompt_ids: tuple[int, ...]
    prompt: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Sequences to train on and to validate with; `remarks` are sentences for people.

    `questions` are answered at every evaluation, for people to read.
    """

    training: tuple[Rendered, ...]
    validation: tuple[Rendered, ...]
    remarks: tuple[str, ...]
    training_sha256: Sha256
    stop_token_ids: tuple[int, ...]
    questions: tuple[Question, ...]
    tokenizer: Tokenizer

    @property
    def lengths(self) -> list[int]:
        return [len(row.ids) for row in self.training]


def read_inputs(inputs: Path, spec: TrainingSpec, facts: TrainingFacts, now: datetime) -> Rows:
    """Render in/train and in/validation (or a share of the training rows) for in/base.

    `now` is the date that some templates write; a resumed training passes the first attempt's.
    Raises JobFailed with code `invalid_training_file`, `invalid_validation_file`, `mask` or `template`.
    """
    renderer = Renderer.from_folder(inputs / "base", now=lambda: now)
    source = _source(inputs / "train", Code.INVALID_TRAINING_FILE)
    training_sha256 = Sha256(source.facts.sha256)
    examples, remarks = _examples(source, "training", Code.INVALID_TRAINING_FILE, minimum_rows=FEWEST_ROWS)
    if (inputs / "validation").exists():
        validating = _source(inputs / "validation", Code.INVALID_VALIDATION_FILE)
        held_out, _ = _examples(validating, "validation", Code.INVALID_VALIDATION_FILE, minimum_rows=1)
    else:
        examples, held_out = split(examples, spec.data.validation_fraction, spec.schedule.seed)
    training, dropped = _render(renderer, examples, spec)
    validation, _ = _render(renderer, held_out, spec)
    _check_masks(training, renderer.stop_token_ids, spec)
    remarks += renderer.notes
    if dropped:
        remarks.append(f"{dropped} rows are longer than {spec.data.max_length} tokens and are left out.")
    remarks += list(dict.fromkeys(note for row in training for note in row.notes))
    questions = _questions(renderer, held_out, spec)
    if validation and spec.data.sample_rows and not questions:
        remarks.append("no held-out row holds a question that fits, so no samples are taken.")
    return Rows(
        training=tuple(training), validation=tuple(validation), remarks=tuple(remarks),
        training_sha256=training_sha256, stop_token_ids=renderer.stop_token_ids, questions=questions,
        tokenizer=renderer.tokenizer,
    )  # fmt: skip


def _source(folder: Path, code: Code) -> Source:
    """P10: the bytes trained on are the bytes that were accepted."""
    if not (folder / FACTS).is_file():
        raise JobFailed("the job was started without its training file. Start it again.", code=code)
    source = Source(folder)
    source.verify(code)
    return source


def _examples(
    source: Source, role: str, code: Code, *, minimum_rows: int
) -> tuple[list[tuple[int, Example]], list[str]]:
    """The usable rows with their numbers, and what the gate said of the others, for whoever watches the training."""
    try:
        prepared = source.prepared()
    except Invalid as refusal:
        raise JobFailed(f"the {role} file cannot be used: {refusal.message}", code=code, **refusal.facts) from None
    examples = list(prepared.examples())
    fault = next(prepared.problems(), None)
    first = f" {sentence(fault)}" if fault else ""
    if len(examples) < minimum_rows:
        raise JobFailed(
            f"the {role} file has {len(examples)} usable rows of {prepared.rows}; at least {minimum_rows} are needed."
            f"{first} Fix or add rows.",
            code=code, usable_rows=len(examples), rows=prepared.rows, needed=minimum_rows,
        )  # fmt: skip
    unusable = prepared.rows - len(examples)
    return examples, [f"{unusable} of {prepared.rows} rows cannot be used; first:{first}"] if fault else []


def _render(
    renderer: Renderer, examples: Sequence[tuple[int, Example]], spec: TrainingSpec
) -> tuple[list[Rendered], int]:
    """Sequences in the order of their rows, and how many rows were too long."""
    sequences: list[Rendered] = []
    dropped = 0
    for number, example in examples:
        rendered = renderer.render(
            example, spec.data.train_on, spec.data.max_length, spec.data.over_long, spec.data.template_arguments,
            row=number,
        )  # fmt: skip
        sequences += rendered
        dropped += not rendered
    return sequences, dropped


def _questions(renderer: Renderer, examples: Sequence[tuple[int, Example]], spec: TrainingSpec) -> tuple[Question, ...]:
    """The first question of the first held-out rows, each once; plain texts ask nothing."""
    found: dict[str, Question] = {}
    for _, example in examples:
        if len(found) >= spec.data.sample_rows:
            break
        if isinstance(example, Conversation) and (question := _question(renderer, example, spec)) is not None:
            found.setdefault(group_of(example), question)
    return tuple(found.values())


def _question(renderer: Renderer, talk: Conversation, spec: TrainingSpec) -> Question | None:
    """Up to the first answer that counts; None where it is too long, or this base cannot write it."""
    turns = talk.turns
    first = next((i for i, turn in enumerate(turns) if turn.role is Role.ASSISTANT and turn.weight), None)
    if not first:
        return None
    asked = talk.model_copy(update={"turns": turns[: first + 1]})
    try:
        rendered = renderer.render(
            asked, TrainOn.LAST_TURN, spec.data.max_length, template_arguments=spec.data.template_arguments
        )
    except Invalid:
        return None
    if not rendered:
        return None
    ids, span = rendered[0].ids, rendered[0].spans[0]
    prompt = next((turn.content for turn in reversed(turns[:first]) if turn.role is Role.USER), turns[0].content)
    reference = renderer.tokenizer.decode(ids[span.start : span.end], skip_special_tokens=True)
    return Question(prompt_ids=tuple(ids[: span.start]), prompt=prompt.strip(), reference=reference.strip())


def _check_masks(training: Sequence[Rendered], stop_token_ids: tuple[int, ...], spec: TrainingSpec) -> None:
    """Something is trained, and every answer teaches the model to stop."""
    if not training:
        _refuse(f"no row fits into {spec.data.max_length} tokens, so nothing would be trained. Raise max_length.")
    for row in training:
        if not row.trained_tokens:
            _refuse("a row has no token to train on. Give at least one assistant turn weight 1 in every row.")
        for span in row.spans:
            if not set(row.ids[span.start : span.end]) & set(stop_token_ids):
                _refuse("an answer would be trained without its stop token, and the model would never stop.")


def _refuse(message: str) -> NoReturn:
    raise JobFailed(message, code=Code.MASK)
