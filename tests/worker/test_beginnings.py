"""What rows have in common at the beginning is computed once, and nobody can tell from loss or gradient."""

import random
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import worker.train.loss as loss_module
from models.domain.base_model import Shapes
from models.domain.errors import JobFailed
from models.domain.objectives import Objective, ObjectiveSpec
from models.domain.training import MethodChoice, Quantisation
from tests.moe import tiny_moe
from tests.tiny import STOP_ID, tiny_base
from worker.data.rendered import Rendered, Span
from worker.device import device_facts
from worker.loading import load_base
from worker.train import beginnings
from worker.train.adapter import fresh_adapter
from worker.train.beginnings import lay
from worker.train.first_step import check_first_step
from worker.train.loss import TokenLoss, batch_of
from worker.train.objective import objective_of
from worker.train.pairs import Pairs
from worker.train.sequences import Sequences

CPU = torch.device("cpu")
SYSTEM = [*range(20, 44)]  # 24 tokens, as long as SmolLM2's own system message


def row(ids: list[int], trained: int) -> Rendered:
    """Its last tokens carry loss."""
    return Rendered(ids=ids, spans=(Span(turn=1, start=len(ids) - trained, end=len(ids)),), text="")


ROWS = [
    row([*SYSTEM, *(50 + (7 * number + place * (number % 3 + 2)) % 150 for place in range(4 + number)), STOP_ID], 3)
    for number in range(6)
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def moe(tmp_path_factory):
    return tiny_moe(tmp_path_factory.mktemp("moe") / "base")


def adapted(base, quantisation=Quantisation.NONE, **options):
    """An adapter that has moved."""
    model = load_base(base, quantisation, device_facts("cpu"), torch.float32)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    model = fresh_adapter(model, MethodChoice(options={"rank": 4, "alpha": 8, **options}), shapes, seed=1)
    draw = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05, generator=draw)
    return model.train()


class Computed:
    """Within, how many tokens went through the decoder."""

    def __init__(self, model) -> None:
        self._decoder, self.tokens = getattr(model, "get_base_model", lambda: model)().get_decoder(), 0

    def __enter__(self):
        self._hook = self._decoder.register_forward_pre_hook(self._count, with_kwargs=True)
        return self

    def _count(self, _, __, given):
        self.tokens += given["input_ids"].numel()

    def __exit__(self, *_):
        self._hook.remove()


def gradient_of(model, loss: TokenLoss, rows) -> torch.Tensor:
    model.zero_grad()
    loss(batch_of(rows)).backward()
    return torch.cat([one.grad.flatten().clone() for one in model.parameters() if one.grad is not None])


# -- laying rows ----------------------------------------------------------------------------------------------------


def rows_of(seed: int) -> list[list[int]]:
    """Rows that grow from one another, some twice, some a part of another."""
    draw = random.Random(seed)
    made = [[draw.randrange(4) for _ in range(draw.randrange(1, 12))]]
    for _ in range(draw.randrange(0, 14)):
        old = draw.choice(made)
        made.append(old[: draw.randrange(1, len(old) + 1)] + [draw.randrange(4) for _ in range(draw.randrange(0, 12))])
    return made


@pytest.mark.parametrize("worth", [None, 1, 4, 8])
@pytest.mark.parametrize("seed", range(40))
def test_every_row_is_a_chain_of_pieces_in_its_order(seed, worth):
    rows = rows_of(seed)
    laid = lay(rows, worth=worth)
    piece_of = [piece for piece, length in enumerate(laid.lengths) for _ in range(length)]
    assert len(laid.ids) == len(laid.positions) == len(piece_of) <= sum(map(len, rows))
    for ids, places in zip(rows, laid.places, strict=True):
        assert [laid.ids[place] for place in places] == ids
        assert [laid.positions[place] for place in places] == list(range(len(ids)))
        last = piece_of[places[-1]]
        chain = (*laid.before[last], last)
        assert [piece_of[place] for place in places] == [one for one in chain for _ in range(laid.lengths[one])]


@pytest.mark.parametrize("seed", range(40))
def test_with_every_token_worth_it_no_beginning_is_there_twice(seed):
    rows = rows_of(seed)
    beginnings = {tuple(ids[: end + 1]) for ids in rows for end in range(len(ids))}
    assert len(lay(rows, worth=1).ids) == len(beginnings)
    assert len(lay(rows, worth=None).ids) == sum(map(len, rows))


def test_a_few_tokens_in_common_are_not_worth_a_piece():
    one, other = [1, 2, 3, 4], [1, 2, 3, 5]
    assert lay([one, other], worth=4).lengths == (4, 4)
    assert lay([one, other, one], worth=4).lengths == (3, 1, 1, 1)


def test_a_piece_sees_what_is_before_it_and_nothing_ahead():
    laid = lay([[1, 2, 3, 4, 5], [1, 2, 3, 6, 7]], worth=1)
    piece = laid.before.index((0,))
    seen = laid.mask(piece, torch.zeros(1)) == 0
    assert seen[0, 0].tolist() == [[True, True, True, True, False], [True] * 5]
    assert laid.mask(piece, torch.zeros(1)) is laid.mask(piece, torch.zeros(1))


# -- the same loss, the same gradient -------------------------------------------------------------------------------


@pytest.mark.parametrize("quantisation", [Quantisation.NONE, Quantisation.NF4])
def test_a_beginning_in_common_changes_neither_loss_nor_gradient(base, quantisation):
    model = adapted(base, quantisation)
    shared, apart = TokenLoss(model, ROWS[0]), TokenLoss(model, ROWS[0], shares=False)
    with Computed(model) as once:
        ours = gradient_of(model, shared, ROWS)
    with Computed(model) as each:
        theirs = gradient_of(model, apart, ROWS)
    assert each.tokens == sum(len(one.ids) - 1 for one in ROWS)  # the last is predicted, and predicts nothing
    assert once.tokens <= each.tokens - 5 * len(SYSTEM)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    assert torch.allclose(shared.by_row(batch_of(ROWS)), apart.by_row(batch_of(ROWS)), rtol=1e-5)


def test_it_is_what_plain_padded_rows_give_by_the_models_own_attention(base):
    model = adapted(base)
    ours = gradient_of(model, TokenLoss(model, ROWS[0]), ROWS)
    model.get_base_model().set_attn_implementation("eager")
    padded = TokenLoss(model, ROWS[0])
    assert not padded.packs
    theirs = gradient_of(model, padded, ROWS)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_tokens_trained_inside_a_common_beginning_count_for_every_row(base):
    """Documents and whole conversations: rows that are trained from their second token on, one of them twice."""
    model = adapted(base)
    rows = [row(one.ids, len(one.ids) - 1) for one in (ROWS[1], ROWS[4], ROWS[4])]
    shared, apart = TokenLoss(model, ROWS[0]), TokenLoss(model, ROWS[0], shares=False)
    with Computed(model) as once:
        ours = gradient_of(model, shared, rows)
    assert once.tokens < len(rows[0].ids) + len(rows[1].ids)
    theirs = gradient_of(model, apart, rows)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    assert torch.equal(gradient_of(model, shared, rows), ours)  # to the bit, in whatever order gradients are added


def test_with_layers_computed_again_in_the_backward_pass(base):
    model = adapted(base)
    loss = TokenLoss(model, ROWS[0])
    once = gradient_of(model, loss, ROWS)
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    again = gradient_of(model, loss, ROWS)
    assert (again - once).norm() <= 1e-5 * once.norm()


def test_in_a_mixture_of_experts(moe):
    model = adapted(moe)
    loss, apart = TokenLoss(model, ROWS[0]), TokenLoss(model, ROWS[0], shares=False)
    assert loss.packs
    ours, theirs = gradient_of(model, loss, ROWS), gradient_of(model, apart, ROWS)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_dropout_draws_for_each_row_by_itself(base):
    model = adapted(base, dropout=0.1)
    loss = TokenLoss(model, ROWS[0])
    every = sum(len(one.ids) - 1 for one in ROWS)
    with Computed(model) as training:
        loss(batch_of(ROWS))
    model.eval()
    with Computed(model) as evaluating:
        loss(batch_of(ROWS))
    assert training.tokens == every > evaluating.tokens


def test_dropout_that_only_a_config_names_is_seen():
    config = {"vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}
    model = LlamaForCausalLM(LlamaConfig(**config, **heads, attention_dropout=0.1)).train()
    loss = TokenLoss(model, ROWS[0])
    with Computed(model) as training:
        loss(batch_of(ROWS))
    assert loss.packs and training.tokens == sum(len(one.ids) - 1 for one in ROWS)


def test_the_prompt_of_two_compared_answers_is_computed_once(base):
    model = adapted(base)
    sequences = Sequences()
    pairs = Pairs(sequences, are_compared=True)
    prompts = [[*SYSTEM, *range(60 + 20 * number, 75 + 20 * number)] for number in range(3)]
    for prompt in prompts:
        answers = [row([*prompt, 200 + number, 210, STOP_ID], 3) for number in range(2)]
        pairs.add_compared(sequences.add(answers[0]), sequences.add(answers[1]), 1)
    pairs.close()
    options = ObjectiveSpec(name=Objective.DPO, beta=0.3)
    objective = objective_of(options, model, ROWS[0], CPU, lambda _: None)
    apart = objective_of(options, model, ROWS[0], CPU, lambda _: None, shares=False)
    with Computed(model) as once:
        found = objective.measure(list(pairs))
    with Computed(model) as each:
        expected = apart.measure(list(pairs))
    assert torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=1e-5)
    assert once.tokens == len(SYSTEM) + 3 * (15 + 2 * 2) and each.tokens == 6 * (len(SYSTEM) + 15 + 2)


# -- where it would be wrong, it is not done ------------------------------------------------------------------------


def _one_too_many(right):
    """Takes the first token that differs for one more in common."""
    return lambda one, other, known: min(right(one, other, known) + 1, len(one), len(other))


def test_what_does_not_come_out_alike_is_padded(base, monkeypatch):
    expected = TokenLoss(adapted(base).eval(), ROWS[0]).by_row(batch_of(ROWS))
    monkeypatch.setattr(beginnings, "_shared", _one_too_many(beginnings._shared))
    loss = TokenLoss(adapted(base).eval(), ROWS[0])
    assert not loss.packs
    assert torch.allclose(loss.by_row(batch_of(ROWS)), expected, rtol=1e-4)


def _sees_ahead(right):
    """Every mask lets everything be seen."""
    return lambda self, piece, like: torch.zeros_like(right(self, piece, like))


def _forgets(right):
    """Positions begin anew in each piece."""

    def lay(rows, *, worth=None):
        laid = right(rows, worth=worth)
        return replace(laid, positions=[place for length in laid.lengths for place in range(length)])

    return lay


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (beginnings, "_shared", None),
        (beginnings, "_shared", _one_too_many),
        (beginnings.Laid, "mask", _sees_ahead),
        (loss_module, "lay", _forgets),
    ],
)
def test_the_look_at_the_first_step_sees_a_wrong_beginning(base, monkeypatch, owner, name, fault):
    """The fault comes after the model was tried, so that it is this look alone that can see it."""
    model = adapted(base)
    objective = objective_of(ObjectiveSpec(), model, ROWS[0], CPU, lambda _: None)
    lengths = [len(one.ids) for one in ROWS]

    def look():
        check_first_step(
            model, ROWS, lengths, torch.float32, lambda passes: objective.step(passes, torch.Tensor.backward).loss
        )

    look()
    if fault is not None:
        monkeypatch.setattr(owner, name, fault(getattr(owner, name)))
        with pytest.raises(JobFailed, match="learnt something else"):
            look()
