"""Reads, chooses and renders the rows of one training job. Knows files and tokens, no torch.

Every source is read once to choose its rows (`worker.train.rows`), then the chosen ones are rendered into compact
sequences. All of it follows from the spec and the bytes, so that a resumed training gets the same.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

from models.domain.adapter import TrainedSource, TrainedSplit
from models.domain.errors import Code, Invalid, JobFailed
from models.domain.ids import Sha256
from models.domain.objectives import KINDS_OF, hold_only_texts
from models.domain.training import BadRows as OnBadRows
from models.domain.training import KeptTogether, TrainingSpec
from worker.data.render import Renderer
from worker.data.source import FACTS, ROWS, Source
from worker.train.bad_rows import BadRows
from worker.train.near import gates_in_use
from worker.train.overlapping import overlap_remarks, split_remarks
from worker.train.pairs import Pairs
from worker.train.questions import Question
from worker.train.rendering import Rendering, Watch, refuse
from worker.train.repeats import cut_remarks, repeat_remarks
from worker.train.rows import Candidates, Selection, everything, read_candidates, select
from worker.train.sequences import Sequences

FEWEST_ROWS = 10


class TrainingFacts(BaseModel):
    """What staging resolved: the base's public id and listing, and whether its packed weights are worth keeping."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base_name: str
    base_tree_sha256: Sha256
    keeps_packed: bool = False


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Sequences to train on and to validate with; `remarks` are sentences for people.

    `pairs` are the same sequences as a preference objective takes them, None for a supervised one: plans and passes
    are made of `units`. `questions` are answered at every evaluation, for people to read. `identity` is that of all
    sources' bytes and readings; `gates` are the near-duplicate reports in use, one a source: a resumed training passes
    them back.
    """

    training: Sequences
    validation: Sequences
    pairs: Pairs | None
    validation_pairs: Pairs | None
    remarks: tuple[str, ...]
    training_sha256: Sha256
    validation_sha256: Sha256 | None
    identity: str
    gates: tuple[str | None, ...]
    sources: tuple[TrainedSource, ...]
    split: TrainedSplit
    left_out: dict[str, int]
    stop_token_ids: tuple[int, ...]
    questions: tuple[Question, ...]
    tokenizer: Tokenizer
    are_texts: bool  # all of the training's rows are plain texts

    @property
    def units(self) -> Sequences | Pairs:
        """What a plan counts: sequences, or pairs of them."""
        return self.training if self.pairs is None else self.pairs

    @property
    def validation_units(self) -> Sequences | Pairs:
        return self.validation if self.validation_pairs is None else self.validation_pairs

    @property
    def lengths(self) -> list[int]:
        return self.units.lengths


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The sources of one side, with what was chosen of each. `bad` counts over all of them."""

    role: str
    code: Code
    fewest: int
    sources: list[Source]
    candidates: list[Candidates]
    bad: BadRows

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.candidates)


def read_inputs(
    inputs: Path,
    spec: TrainingSpec,
    facts: TrainingFacts,
    now: datetime,
    *,
    gates: Sequence[str | None] | None = None,
    watch: Watch = lambda done, total: None,
) -> Rows:
    """Choose and render the rows of in/train, in/mixed-N and in/validation for in/base.

    `now` is the date that some templates write, `gates` the near-duplicate reports to use; a resumed training passes
    the first attempt's. Raises JobFailed with code `invalid_training_file`, `invalid_validation_file`, `mask`,
    `template` or `resume_refused`.
    """
    renderer = Renderer.from_folder(inputs / "base", now=lambda: now)
    data, seed = spec.data, spec.schedule.seed
    places = ["train", *(f"mixed-{place}" for place in range(1, len(data.rows.mixed) + 1))]
    sources = [_source(inputs / place, Code.INVALID_TRAINING_FILE) for place in places]
    is_near = data.rows.kept_together is KeptTogether.NEAR_DUPLICATES
    used, remarks = gates_in_use(sources, gates) if is_near else ((None,) * len(sources), [])
    training = _side(sources, spec, used, watch, role="training", code=Code.INVALID_TRAINING_FILE)
    sides, fraction = [training], data.validation_fraction
    if (inputs / "validation").exists():
        own = _source(inputs / "validation", Code.INVALID_VALIDATION_FILE)
        sides.append(_side([own], spec, (None,), watch, role="validation", code=Code.INVALID_VALIDATION_FILE))
        fraction = 0.0
        remarks += overlap_remarks(sources, own, len(sides[1].candidates[0]), KINDS_OF[spec.objective.name])
    chosen = [select(training.candidates, data.rows, fraction=fraction, seed=seed)]
    chosen += [[everything(side.candidates[0])] for side in sides[1:]]
    remarks += repeat_remarks(training.candidates, data.rows) + split_remarks(
        sources, chosen[0], KINDS_OF[spec.objective.name]
    )
    rendering = _rendered(renderer, spec, sides, chosen, watch)
    remarks += [remark for side in sides for remark in _said_of(side.bad, side.rows)] + list(renderer.notes)
    if rendering.too_long:
        remarks.append(f"{rendering.too_long:,} rows are longer than {data.max_length:,} tokens and are left out.")
    remarks += cut_remarks(rendering.answers, len(rendering.training)) + rendering.notes
    if len(rendering.validation) and data.sample_rows and not rendering.questions:
        remarks.append("no held-out row holds a question that fits, so no samples are taken.")
    own_sha256 = Sha256(sides[1].sources[0].facts.sha256) if len(sides) > 1 else None
    return Rows(
        training=rendering.training, validation=rendering.validation, pairs=rendering.training_pairs,
        validation_pairs=rendering.validation_pairs, remarks=tuple(remarks),
        training_sha256=Sha256(sources[0].facts.sha256), validation_sha256=own_sha256,
        identity=_identity([one for side in sides for one in side.sources]), gates=tuple(used),
        sources=_recorded(training, chosen[0], spec), split=_split(spec, chosen[0], is_own=own_sha256 is not None),
        left_out=_left_out(sides, chosen[0], rendering), stop_token_ids=renderer.stop_token_ids,
        questions=rendering.questions, tokenizer=renderer.tokenizer,
        are_texts=hold_only_texts(
            [{"text": one.texts, "conversation": len(one) - one.texts} for one in training.candidates]
        ),
    )  # fmt: skip


# -- reading ----------------------------------------------------------------------------------------------------


def _source(folder: Path, code: Code) -> Source:
    """P10: the bytes trained on are the bytes that were accepted."""
    if not (folder / FACTS).is_file():
        raise JobFailed("the job was started without its training file. Start it again.", code=code)
    source = Source(folder)
    source.verify(code)
    return source


def _side(
    sources: list[Source], spec: TrainingSpec, gates: Sequence[str | None], watch: Watch, *, role: str, code: Code
) -> _Side:
    bad, candidates = BadRows(), []
    for place, source in enumerate(sources):
        try:
            source.prepared(lambda _: watch(0, None))
        except Invalid as refusal:
            raise JobFailed(f"the {role} file cannot be used: {refusal.message}", code=code, **refusal.facts) from None
        candidates.append(
            read_candidates(
                source.folder / ROWS, source.gate if gates[place] else None, spec.data.rows, bad,
                role="mixed" if place else role, code=code, watch=lambda: watch(0, None),
                objective=spec.objective.name,
            )
        )  # fmt: skip
    fewest = FEWEST_ROWS if role == "training" else 1
    return _Side(role=role, code=code, fewest=fewest, sources=sources, candidates=candidates, bad=bad)


def _rendered(
    renderer: Renderer, spec: TrainingSpec, sides: Sequence[_Side], chosen: Sequence[list[Selection]], watch: Watch
) -> Rendering:
    """Raises JobFailed where too few rows stay, at the latest, or at a bad row where the person wished that."""
    rows = sum(one.used for selections in chosen for one in selections)
    rendering = Rendering(renderer, spec.data, total=rows, watch=watch, objective=spec.objective.name)
    for side, selections in zip(sides, chosen, strict=True):
        taken, unreadable = sum(one.taken for one in selections), side.bad.count
        _check(side, taken, spec)
        for source, selection in zip(side.sources, selections, strict=True):
            rendering.add(source, selection, side.bad)
        _check(side, taken - (side.bad.count - unreadable), spec)
    rendering.close()
    if not len(rendering.training):
        refuse(f"no row fits into {spec.data.max_length} tokens, so nothing would be trained. Raise max_length.")
    return rendering


def _check(side: _Side, left: int, spec: TrainingSpec) -> None:
    bad = side.bad
    if bad.count and spec.data.rows.bad_rows is OnBadRows.STOP:
        raise JobFailed(
            f"{bad.count:,} of {side.rows:,} {side.role} rows cannot be used: {bad.words()}. {bad.first} This run was "
            "told to stop at such rows. Correct them, or have them left out.",
            code=bad.code or side.code, rows=side.rows, left_out=bad.counts,
        )  # fmt: skip
    if left < side.fewest:
        first = f" {bad.first}" if bad.first else ""
        raise JobFailed(
            f"the {side.role} file has {left:,} usable rows of {side.rows:,}; at least {side.fewest} are needed."
            f"{first} Fix or add rows.",
            code=bad.code or side.code, usable_rows=left, rows=side.rows, needed=side.fewest,
        )  # fmt: skip


# -- what is said and recorded ----------------------------------------------------------------------------------


def _said_of(bad: BadRows, rows: int) -> list[str]:
    if not bad.count:
        return []
    are = "cannot be used and is left out" if bad.count == 1 else "cannot be used and are left out"
    return [f"{bad.count:,} of {rows:,} rows {are}: {bad.words()}; first: {bad.first}"]


def _identity(sources: Sequence[Source]) -> str:
    told = [[source.facts.sha256, source.facts.reading.model_dump(mode="json")] for source in sources]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _recorded(side: _Side, selections: Sequence[Selection], spec: TrainingSpec) -> tuple[TrainedSource, ...]:
    weights = (spec.data.rows.weight, *(each.weight for each in spec.data.rows.mixed))
    return tuple(
        TrainedSource(
            sha256=Sha256(source.facts.sha256), reading=source.facts.reading, weight=weight, rows=found.rows,
            usable_rows=len(found), taken=one.taken, held_back=int(one.is_held_back.sum()),
            trained=int(one.times.sum()),
        )
        for source, found, one, weight in zip(side.sources, side.candidates, selections, weights, strict=True)
    )  # fmt: skip


def _split(spec: TrainingSpec, selections: Sequence[Selection], *, is_own: bool) -> TrainedSplit:
    rows = spec.data.rows
    return TrainedSplit(
        kept_together=rows.kept_together, column=rows.column,
        seed=spec.schedule.seed if rows.split_seed is None else rows.split_seed,
        rows=None if is_own else sum(int(one.is_held_back.sum()) for one in selections),
    )  # fmt: skip


def _left_out(sides: Sequence[_Side], selections: Sequence[Selection], rendering: Rendering) -> dict[str, int]:
    """Rows by why they are not trained on: kinds of bad rows, and what the settings leave out."""
    counts: dict[str, int] = {}
    for side in sides:
        for kind, count in side.bad.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    duplicates = sum(one.duplicates for one in selections)
    drawn = sum(len(one.times) - one.duplicates - one.taken for one in selections)
    counts |= {"duplicate": duplicates, "not_drawn": drawn, "too_long": rendering.too_long}
    return {kind: count for kind, count in sorted(counts.items()) if count}
