"""The memory of a training as its settings say it, and what would make it fit. Knows specs and shapes, no device."""

from collections.abc import Iterator
from dataclasses import dataclass

from models.catalog.lora_family import LowRank, ranks_of
from models.catalog.method_facts import check_choice
from models.catalog.methods import METHODS
from models.catalog.methods.pissa import PissaOptions
from models.catalog.virtual_tokens import tokens_in_front
from models.domain.base_model import Shapes
from models.domain.errors import Invalid
from models.domain.memory import Adapters, MemoryEstimate, Way, largest_pass, memory, tokens_per_pass
from models.domain.objectives import SEQUENCES_OF
from models.domain.token_figures import TokenFigures
from models.domain.training import Quantisation, TrainingSpec

USUAL_TRAINED_SHARE = 0.5  # of a row's tokens that carry loss, where nobody has counted
SMALLER_LENGTHS = (4096, 2048, 1024, 512, 256)
SMALLER_RANKS = (64, 32, 16, 8)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training would run on: "cpu" or "cuda", and the bytes of the compute type."""

    kind: str
    compute_bytes: int


@dataclass(frozen=True, kw_only=True)
class Cure:
    """One change that would make a training fit: `words` for people, `path` and `value` of the setting."""

    words: str
    path: str
    value: bool | int | str
    total_bytes: int


def adapters_of(spec: TrainingSpec, shapes: Shapes) -> Adapters:
    """Raises Invalid where the base cannot follow the method or its options, naming the field."""
    method = METHODS[spec.method.name]
    options = method.options.model_validate(spec.method.options)
    trainable = method.cost(shapes, options)
    if not isinstance(options, LowRank):
        way = Way.IN_FRONT if tokens_in_front(spec.method) else Way.SCALED
        return Adapters(trainable=trainable, ranks={}, way=way)
    times = 2 if isinstance(options, PissaOptions) else 1
    ranks = {name: times * rank for name, rank in ranks_of(shapes, options).items()}
    is_dropping = bool(spec.method.options.get("dropout"))
    way = Way.DORA if spec.method.name == "dora" else Way.BRANCHED if is_dropping else Way.FUSED
    return Adapters(trainable=trainable, ranks=ranks, way=way)


def pass_tokens(spec: TrainingSpec, machine: Machine, tokens: TokenFigures | None) -> int:
    """Of the largest forward pass: by the lengths of the rows where they are counted, else by the longest allowed."""
    each, front = SEQUENCES_OF[spec.objective.name], tokens_in_front(spec.method)
    if tokens is None or not tokens.lengths or front:  # rows behind virtual tokens are padded
        longest = tokens.longest if tokens and tokens.longest else spec.data.max_length
        return tokens_per_pass(each * (longest + front), spec.schedule, machine.kind)
    # A pair has two sequences, and is as long as twice its longer one.
    units = [(each * length, -(-count // each)) for length, count in tokens.lengths]
    return largest_pass(units, spec.schedule, machine.kind)


def training_memory(
    spec: TrainingSpec, shapes: Shapes, machine: Machine, tokens: TokenFigures | None = None, *,
    trained_share: float = USUAL_TRAINED_SHARE,
) -> MemoryEstimate:  # fmt: skip
    """At its height. `trained_share` counts until `tokens` are there."""
    return memory(
        shapes,
        adapters_of(spec, shapes),
        quantisation=spec.quantisation,
        tokens=pass_tokens(spec, machine, tokens),
        trained_share=tokens.longest_share if tokens else trained_share,
        compute_bytes=machine.compute_bytes,
        device=machine.kind,
        optimiser=spec.schedule.optimiser,
        is_checkpointing=spec.schedule.gradient_checkpointing,
    )


def cures(
    spec: TrainingSpec, shapes: Shapes, machine: Machine, tokens: TokenFigures | None, free_bytes: float, *,
    trained_share: float = USUAL_TRAINED_SHARE,
) -> list[Cure]:  # fmt: skip
    """Single changes with which the estimate is at most `free_bytes`, those that cost least quality first."""
    found = []
    for words, path, value in _changes(spec, tokens):
        changed = with_setting(spec, path, value)
        try:
            check_choice(changed, shapes)
            counted = tokens.shortened(changed.data.max_length) if tokens else None
            needed = training_memory(changed, shapes, machine, counted, trained_share=trained_share).total_bytes
        except Invalid:
            continue
        if needed <= free_bytes and not any(one.path == path for one in found):
            found.append(Cure(words=words, path=path, value=value, total_bytes=needed))
    return found


def _changes(spec: TrainingSpec, tokens: TokenFigures | None) -> Iterator[tuple[str, str, bool | int | str]]:
    """What could be changed, the largest value of each setting first."""
    schedule = spec.schedule
    if schedule.micro_batch_rows != 1:
        for rows in _halves(schedule.micro_batch_rows or schedule.batch_rows):
            words = f"{rows} row{'s' if rows > 1 else ''} per forward pass"
            yield words, "schedule.micro_batch_rows", rows
    if not schedule.gradient_checkpointing:
        yield "computing activations twice", "schedule.gradient_checkpointing", True
    if spec.quantisation is Quantisation.NONE:
        yield "the base in 8 bits", "quantisation", str(Quantisation.INT8)
    if spec.quantisation in (Quantisation.NONE, Quantisation.INT8):
        yield "the base in 4 bits (NF4)", "quantisation", str(Quantisation.NF4)
    longest = tokens.longest if tokens and tokens.longest else spec.data.max_length
    for length in SMALLER_LENGTHS:
        if length < min(longest, spec.data.max_length):
            yield f"rows up to {length:,} tokens", "data.max_length", length
    options = METHODS[spec.method.name].options.model_validate(spec.method.options)
    for smaller in SMALLER_RANKS:
        if isinstance(options, LowRank) and smaller < options.rank:
            yield f"rank {smaller}", "method.options.rank", smaller


def _halves(rows: int) -> list[int]:
    found = []
    while rows > 1:
        rows //= 2
        found.append(rows)
    return found


def with_setting(spec: TrainingSpec, path: str, value: bool | int | str) -> TrainingSpec:
    """The same wish but for one setting."""
    told = spec.model_dump(mode="json")
    *folders, name = path.split(".")
    place = told
    for folder in folders:
        place = place[folder]
    place[name] = value
    return TrainingSpec.model_validate(told)
