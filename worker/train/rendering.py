"""Renders the chosen rows of one source after the other into the two sides of a training. Chooses nothing."""

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from models.domain.errors import Code, Invalid, JobFailed
from models.domain.example import EXAMPLE, Example, Labelled, Text
from models.domain.objectives import KINDS_OF, Objective
from models.domain.training import DataSpec, TrainOn
from worker.data.gate.answers import Answers
from worker.data.gate.texts import answers_of
from worker.data.render import Rendered, Renderer
from worker.data.source import ROWS, Source
from worker.data.split import group_of
from worker.train.bad_rows import BadRows
from worker.train.pairs import Pairs
from worker.train.parquet import columns_of
from worker.train.questions import Question, question_of, talk_of
from worker.train.rows import Selection
from worker.train.sequences import Sequences

Watch = Callable[[int, int | None], None]  # rows done, and in all where that is known; may raise to stop
MOST_NOTES = 20  # different sentences about single rows


class Rendering:
    """`training` and `validation` grow with every source; `too_long` counts rows of which nothing fits.

    Their pairs, for a preference objective alone, are whole once `close` has been called.
    """

    def __init__(
        self, renderer: Renderer, spec: DataSpec, *, total: int, watch: Watch,
        objective: Objective = Objective.SUPERVISED,
    ) -> None:  # fmt: skip
        self._renderer, self._spec, self._total, self._watch = renderer, spec, total, watch
        self._kinds = KINDS_OF[objective]
        self._done = 0
        self._questions: dict[str, Question] = {}
        self._notes: dict[str, None] = {}
        self.training, self.validation = Sequences(), Sequences()
        self.training_pairs: Pairs | None = None
        self.validation_pairs: Pairs | None = None
        if objective is not Objective.SUPERVISED:
            is_dpo = objective is Objective.DPO
            self.training_pairs = Pairs(self.training, are_compared=is_dpo)
            self.validation_pairs = Pairs(self.validation, are_compared=is_dpo)
        self.answers = Answers()
        self.too_long = 0

    @property
    def questions(self) -> tuple[Question, ...]:
        """The first question of the first held-out rows, each once; plain texts ask nothing."""
        return tuple(self._questions.values())

    @property
    def notes(self) -> list[str]:
        """What the renderer said of single rows to train on, each sentence once."""
        return list(self._notes)

    def add(self, source: Source, selection: Selection, bad: BadRows) -> None:
        """Rows that this base cannot write are counted in `bad`. Raises JobFailed with code `mask`."""
        for place, (number, example) in enumerate(_usable(source, self._kinds)):
            times, is_held_back = int(selection.times[place]), bool(selection.is_held_back[place])
            if not times and not is_held_back:
                continue
            self._done += 1
            if self._done % 100 == 0:
                self._watch(self._done, self._total)
            parsed = EXAMPLE.validate_json(example)
            sequences = self._rendered(number, parsed, bad)
            if sequences is None:
                continue
            self.too_long += not sequences
            side = self.validation if is_held_back else self.training
            places: list[int] = []
            for sequence in sequences:
                self._check_mask(sequence, parsed)
                places.append(side.add(sequence, max(1, times)))
                if not is_held_back and len(self._notes) < MOST_NOTES:
                    self._notes.update(dict.fromkeys(sequence.notes))
            self._pair(parsed, places, max(1, times), is_held_back=is_held_back)
            if is_held_back:
                self._ask(parsed)
                continue
            for answer in answers_of(parsed):
                self.answers.add(number, answer)

    def close(self) -> None:
        """After the last source."""
        for pairs in (self.training_pairs, self.validation_pairs):
            if pairs is None:
                continue
            alone = 0 if pairs.are_compared else pairs.mismatch(self._spec.max_length)
            if alone:
                note = f"{alone:,} of {pairs.size:,} rows take no part in estimating the distance from the reference: "
                self._notes[note + "no other prompt's answer near them fits into the maximum length."] = None
            pairs.close()

    def _pair(self, example: Example, places: Sequence[int], times: int, *, is_held_back: bool) -> None:
        pairs = self.validation_pairs if is_held_back else self.training_pairs
        if pairs is None or not places:
            return
        if isinstance(example, Labelled):
            pairs.add_labelled(places[0], is_good=example.label, times=times)
        else:
            better, worse = places
            pairs.add_compared(better, worse, times)

    def _rendered(self, number: int, example: Example, bad: BadRows) -> list[Rendered] | None:
        """None for a row that this base cannot write."""
        spec = self._spec
        try:
            return self._renderer.render(
                example, spec.train_on, spec.max_length, spec.over_long, spec.template_arguments, row=number
            )
        except Invalid as refusal:
            bad.unwritable(str(refusal.facts.get("kind") or refusal.code), refusal.message, refusal.code)
            return None

    def _ask(self, example: Example) -> None:
        if len(self._questions) >= self._spec.sample_rows:
            return
        talk = talk_of(example)
        if talk is not None and (question := question_of(self._renderer, talk, self._spec)) is not None:
            self._questions.setdefault(group_of(example), question)

    def _check_mask(self, sequence: Rendered, example: Example) -> None:
        """Something is trained, and every answer teaches the model to stop; a piece of a text need not."""
        if not sequence.trained_tokens:
            refuse("a row has no token to train on. Give at least one assistant turn weight 1 in every row.")
        if isinstance(example, Text):
            return
        # Of a whole conversation only the last stretch must end an answer: others may end before one of weight 0.
        for span in sequence.spans[-1:] if self._spec.train_on is TrainOn.ALL else sequence.spans:
            if not set(sequence.ids[span.start : span.end]) & set(self._renderer.stop_token_ids):
                refuse("an answer would be trained without its stop token, and the model would never stop.")


def _usable(source: Source, kinds: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The rows that `read_candidates` counts, in its order."""
    for number, kind, example in columns_of(source.folder / ROWS, "number", "kind", "example"):
        if kind in kinds:
            yield number, example


def refuse(message: str) -> NoReturn:
    raise JobFailed(message, code=Code.MASK)
