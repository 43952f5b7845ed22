"""What a training takes of memory, counted: that the count follows the settings, and how the verdict reads it."""

import pytest

from models.catalog.training_memory import Machine, cures, training_memory
from models.domain.base_model import ModuleShape, Shapes
from models.domain.memory import Adapters, Way, kept_widths, largest_pass, tokens_per_pass, verdict_of
from models.domain.objectives import Objective, ObjectiveSpec
from models.domain.token_figures import TokenFigures
from models.domain.training import MethodChoice, Optimiser, Quantisation, ScheduleSpec, TrainingSpec

CPU, GPU = Machine(kind="cpu", compute_bytes=4), Machine(kind="cuda", compute_bytes=2)


def llama(*, hidden: int, layers: int, keys: int, inner: int, vocabulary: int) -> Shapes:
    """The linear layers and tied embeddings of a Llama, as an import counts them."""
    each = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    linear = [
        ModuleShape(name=f"model.layers.{layer}.{name}", kind="linear", shape=shape, dtype="bf16")
        for layer in range(layers) for name, shape in each.items()
    ]  # fmt: skip
    norms = [
        ModuleShape(name=f"model.layers.{layer}.input_layernorm", kind="norm", shape=(hidden,), dtype="bf16")
        for layer in range(layers)
    ]
    embedding = ModuleShape(name="model.embed_tokens", kind="embedding", shape=(vocabulary, hidden), dtype="bf16")
    parameters = vocabulary * hidden + layers * hidden + sum(one.shape[0] * one.shape[1] for one in linear)
    return Shapes(
        architecture="LlamaForCausalLM", hidden_size=hidden, layers=layers, vocabulary=vocabulary, context_length=2048,
        parameters=parameters, modules=(embedding, *linear, *norms),
    )  # fmt: skip


SMOLLM2 = llama(hidden=576, layers=30, keys=192, inner=1536, vocabulary=49_152)


def spec(method: str = "lora", *, quantisation: str = "none", max_length: int = 512, **changes) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {
            "base": "base-1", "data": {"training_file": "file-1", "max_length": max_length},
            "quantisation": quantisation, "method": MethodChoice(name=method, options=changes.pop("options", {})),
            "schedule": {"micro_batch_rows": 2, **changes},
        }
    )  # fmt: skip


def needed(wish: TrainingSpec, machine: Machine = CPU) -> int:
    return training_memory(wish, SMOLLM2, machine).total_bytes


def figures(*lengths: tuple[int, int]) -> TokenFigures:
    longest = max(length for length, _ in lengths)
    tokens = sum(length * count for length, count in lengths)
    sequences = sum(count for _, count in lengths)
    return TokenFigures(
        sequences=sequences, tokens=tokens, trained_tokens=tokens // 2, longest=longest, longest_share=0.5,
        counted=sequences, too_long=0, lengths=lengths,
    )  # fmt: skip


# -- what is counted --------------------------------------------------------------------------------------------


def test_a_layer_of_a_llama_keeps_what_autograd_saves_of_it():
    ranks = {one.name: 16 for one in SMOLLM2.modules if one.kind == "linear"}
    kept = kept_widths(SMOLLM2, Adapters(trainable=0, ranks=ranks))
    # By torch's saved_tensors_hooks: four of the stream's width, three of the queries', keys, values, four inner ones.
    of_a_layer = 4 * 576 + 3 * 576 + 2 * 192 + 4 * 1536 + 7 * 16
    assert sum(width * count for width, count in kept.items()) == 30 * of_a_layer


def test_a_gated_unit_that_computes_again_keeps_one_tensor_less():
    ranks = {one.name: 16 for one in SMOLLM2.modules if one.kind == "linear"}
    plain, light = (kept_widths(SMOLLM2, Adapters(trainable=0, ranks=ranks), is_light=one) for one in (False, True))
    assert plain - light == {1536: 30}


def test_layers_without_an_adapter_keep_no_input():
    attention = {one.name: 16 for one in SMOLLM2.modules if "self_attn" in one.name}
    less = kept_widths(SMOLLM2, Adapters(trainable=0, ranks=attention))
    more = kept_widths(SMOLLM2, Adapters(trainable=0, ranks={**attention, "model.layers.0.mlp.down_proj": 16}))
    assert more - less == {1536: 1, 16: 1} and less[1536] == 30 * 3


@pytest.mark.parametrize("way", [Way.BRANCHED, Way.DORA])
def test_dropout_and_dora_keep_more_than_plain_lora(way):
    ranks = {one.name: 16 for one in SMOLLM2.modules if one.kind == "linear"}
    plain, other = (kept_widths(SMOLLM2, Adapters(trainable=0, ranks=ranks, way=each)) for each in (Way.FUSED, way))
    assert other.total() > plain.total()


def test_every_setting_that_saves_memory_lowers_the_estimate():
    usual = needed(spec(options={"rank": 32}))
    assert needed(spec(options={"rank": 8})) < usual
    assert needed(spec(options={"rank": 32}, gradient_checkpointing=True)) < 0.65 * usual
    assert needed(spec(options={"rank": 32}, micro_batch_rows=1)) < usual
    assert needed(spec(options={"rank": 32}, max_length=256)) < usual


def test_a_quantised_base_takes_little_and_its_head_stays_whole():
    by_kind = {kind: training_memory(spec(quantisation=kind), SMOLLM2, GPU).base_bytes for kind in Quantisation}
    embedding = 2 * 49_152 * 576
    assert embedding < by_kind[Quantisation.NF4] < by_kind[Quantisation.NF4_PLAIN] < by_kind[Quantisation.INT8]
    assert by_kind[Quantisation.INT8] < by_kind[Quantisation.NONE]


def test_no_logits_of_all_tokens_are_counted():
    short, long = (training_memory(spec(max_length=length), SMOLLM2, CPU).logit_bytes for length in (2048, 65_536))
    assert short < long < 3.2 * short


def test_8_bit_moments_take_a_quarter():
    usual, small = (
        training_memory(spec(optimiser=one), SMOLLM2, GPU).trained_bytes
        for one in (Optimiser.ADAMW, Optimiser.ADAMW_8BIT)
    )
    assert small / usual == 10 / 16


def test_pissa_takes_twice_the_parameters_and_a_pair_two_sequences():
    once, twice = (training_memory(spec(name), SMOLLM2, CPU).trained_bytes for name in ("lora", "pissa"))
    assert twice == 2 * once
    paired = spec().model_copy(update={"objective": ObjectiveSpec(name=Objective.DPO)})
    rows, pairs = (training_memory(one, SMOLLM2, CPU).activation_bytes for one in (spec(), paired))
    assert pairs > 1.5 * rows


# -- the largest pass -------------------------------------------------------------------------------------------


def test_the_largest_pass_is_whole_rows_within_a_budget_unless_somebody_says_how_many():
    assert tokens_per_pass(2048, ScheduleSpec(batch_rows=8), "cpu") == 4096
    assert tokens_per_pass(2048, ScheduleSpec(batch_rows=1), "cpu") == 2048
    assert tokens_per_pass(8192, ScheduleSpec(batch_rows=8), "cpu") == 8192  # one row is never cut
    assert tokens_per_pass(2048, ScheduleSpec(batch_rows=8, micro_batch_rows=3), "cpu") == 6144


def test_counted_rows_are_laid_end_to_end_without_padding():
    lengths = [(1000, 1), (100, 50)]
    assert largest_pass(lengths, ScheduleSpec(batch_rows=8, micro_batch_rows=4), "cpu") == 1300
    assert largest_pass(lengths, ScheduleSpec(batch_rows=8), "cpu") == 1300  # four of them fill 4,096 with padding
    assert largest_pass([(9000, 3)], ScheduleSpec(batch_rows=8), "cpu") == 9000
    assert largest_pass([(100, 3)], ScheduleSpec(batch_rows=8), "cpu") == 300  # there are no more
    assert largest_pass([(100, 99)], ScheduleSpec(batch_tokens=500), "cpu") == 600


# -- the verdict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(1177, "fits"), (1176, "tight"), (1000, "tight"), (999, "too_much"), (0, "too_much")],
)
def test_it_fits_up_to_85_percent_of_what_is_free_and_is_tight_up_to_all_of_it(free, verdict):
    assert verdict_of(1000, free) == verdict


def test_cures_are_single_changes_that_fit_by_the_same_arithmetic():
    wish = spec(options={"rank": 64, "alpha": 128}, micro_batch_rows=8, max_length=1024)
    free = round(0.75 * needed(wish))
    found = cures(wish, SMOLLM2, CPU, None, free)
    assert {"schedule.gradient_checkpointing", "data.max_length", "schedule.micro_batch_rows"} <= {
        one.path for one in found
    }
    assert all(one.total_bytes <= free for one in found)
    assert next(one for one in found if one.path == "schedule.micro_batch_rows").value == 4  # not less than needed


def test_nothing_is_offered_that_does_not_help_or_is_chosen_already():
    wish = spec(quantisation="nf4", micro_batch_rows=1, gradient_checkpointing=True, max_length=256)
    assert cures(wish, SMOLLM2, CPU, None, 10**6) == []
    assert {one.path for one in cures(wish, SMOLLM2, CPU, None, 10**12)} == {"method.options.rank"}


def test_a_shorter_row_is_offered_only_where_rows_are_that_long():
    wish = spec(max_length=4096, micro_batch_rows=8)
    short = figures((300, 100))
    offered = [one.value for one in cures(wish, SMOLLM2, CPU, short, 10**12) if one.path == "data.max_length"]
    assert offered == [256]
