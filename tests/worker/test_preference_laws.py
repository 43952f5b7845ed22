"""Laws of DPO and KTO: their formulas by hand, gradients that no cut can change, rows that stand together."""

import pytest
import torch

from models.domain.base_model import Shapes
from models.domain.objectives import Objective, ObjectiveSpec
from models.domain.training import MethodChoice, Quantisation
from tests.tiny import STOP_ID, tiny_base
from worker.data.render import Rendered, Span
from worker.device import device_facts
from worker.loading import load_base
from worker.train.adapter import fresh_adapter
from worker.train.objective import Preferences, objective_of
from worker.train.pairs import Pairs
from worker.train.preference import ChosenWatch, Seen, distance, dpo_losses, kto_losses
from worker.train.sequences import Sequences

CPU = torch.device("cpu")
DPO = ObjectiveSpec(name=Objective.DPO, beta=0.3, label_smoothing=0.1)
KTO = ObjectiveSpec(name=Objective.KTO, beta=0.3, desirable_weight=1.5, undesirable_weight=0.5)


def row(prompt: list[int], answer: list[int]) -> Rendered:
    ids = [*prompt, *answer, STOP_ID]
    return Rendered(ids=ids, spans=(Span(turn=1, start=len(prompt), end=len(ids)),), text="")


def rows(count: int = 6) -> list[tuple[Rendered, Rendered, bool]]:
    made = []
    for number in range(count):
        prompt = [20 + (5 * number + place) % 90 for place in range(3 + number)]
        better = [120 + (3 * number + place) % 60 for place in range(2 + number % 3)]
        worse = [200 + (7 * number + place) % 40 for place in range(1 + (number * 2) % 5)]
        made.append((row(prompt, better), row(prompt, worse), number % 3 != 0))
    return made


def pairs_of(options: ObjectiveSpec, times: int = 1) -> Pairs:
    sequences = Sequences()
    pairs = Pairs(sequences, are_compared=options.name is Objective.DPO)
    for better, worse, is_good in rows():
        if options.name is Objective.DPO:
            pairs.add_compared(sequences.add(better, times), sequences.add(worse, times), times)
        else:
            pairs.add_labelled(sequences.add(better if is_good else worse, times), is_good=is_good, times=times)
    if options.name is Objective.KTO:
        assert pairs.mismatch(64) == 0
    pairs.close()
    return pairs


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A moved adapter on the tiny base, so that policy and reference differ."""
    base = tiny_base(tmp_path_factory.mktemp("base"))
    loaded = load_base(base, Quantisation.NONE, device_facts("cpu"), torch.float32)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    adapted = fresh_adapter(loaded, MethodChoice(options={"rank": 4, "alpha": 8}), shapes, seed=1)
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return adapted


def measured(model, options) -> tuple[Preferences, Pairs]:
    """The objective, and pairs whose reference is the base without its adapter."""
    pairs = pairs_of(options)
    objective = objective_of(options, model, rows()[0][0], CPU, lambda _: None)
    assert isinstance(objective, Preferences)
    with model.disable_adapter():
        found = objective.measure([pairs.different(place) for place in range(pairs.size)])
    pairs.references[:] = torch.tensor(found).numpy()
    return objective, pairs


def plain(model, one: Rendered) -> torch.Tensor:
    """The log-probability of a row's answer, token by token, with nothing of ours."""
    said = model.get_base_model()(input_ids=torch.tensor([one.ids])).logits[0].float().log_softmax(-1)  # (T, V)
    places = range(one.spans[0].start, one.spans[0].end)
    return torch.stack([said[place - 1, one.ids[place]] for place in places]).sum()


def gradient(model) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def by_hand(model, options: ObjectiveSpec, pairs: Pairs) -> torch.Tensor:
    """The step's loss as the papers write it."""
    own = [plain(model, pair.first) for pair in pairs]
    with model.disable_adapter(), torch.no_grad():
        start = [(plain(model, pair.first), plain(model, pair.second)) for pair in pairs]
    beta = options.beta
    if options.name is Objective.DPO:
        margins = [
            beta * ((first - r[0]) - (plain(model, pair.second) - r[1]))
            for first, pair, r in zip(own, pairs, start, strict=True)
        ]
        return -sum(0.9 * torch.log(torch.sigmoid(m)) + 0.1 * torch.log(torch.sigmoid(-m)) for m in margins) / len(own)
    with torch.no_grad():
        kl = sum(plain(model, pair.second) - r[1] for pair, r in zip(pairs, start, strict=True)) / len(own)
        kl = max(0.0, float(kl))
    values = [
        1.5 * (1 - torch.sigmoid(beta * (first - r[0] - kl)))
        if pair.is_good
        else 0.5 * (1 - torch.sigmoid(beta * (kl - (first - r[0]))))
        for first, pair, r in zip(own, pairs, start, strict=True)
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("options", [DPO, KTO], ids=["dpo", "kto"])
def test_loss_and_gradient_are_those_of_the_papers_formula(model, options):
    objective, pairs = measured(model, options)
    expected = by_hand(model, options, pairs)
    expected.backward()
    needed = gradient(model)
    step = objective.step([list(pairs)], torch.Tensor.backward)
    found = gradient(model)
    assert step.loss == pytest.approx(expected.item(), rel=1e-5)
    assert (found - needed).norm() <= 1e-4 * needed.norm() and needed.norm() > 0
    assert objective.evaluate([list(pairs)]).loss_per_token == pytest.approx(step.loss, rel=1e-5)


@pytest.mark.parametrize("options", [DPO, KTO], ids=["dpo", "kto"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_cut_into_forward_passes_changes_neither_gradient_nor_figures(model, options, size):
    objective, pairs = measured(model, options)
    whole = objective.step([list(pairs)], torch.Tensor.backward)
    needed = gradient(model)
    cut = objective.step([pairs[at : at + size] for at in range(0, len(pairs), size)], torch.Tensor.backward)
    assert (gradient(model) - needed).norm() <= 1e-5 * needed.norm()
    assert whole.preference is not None and cut.preference is not None
    assert cut.preference.kl == pytest.approx(whole.preference.kl, rel=1e-4)
    assert cut.preference.margin == pytest.approx(whole.preference.margin, rel=1e-4)
    assert (cut.trained_tokens, cut.tokens) == (whole.trained_tokens, whole.tokens)


def test_before_the_first_step_dpo_stands_at_ln_2_and_kto_at_half_its_weights(tmp_path):
    base = tiny_base(tmp_path)
    loaded = load_base(base, Quantisation.NONE, device_facts("cpu"), torch.float32)
    shapes = Shapes.model_validate_json((base / "shapes.json").read_text())
    fresh = fresh_adapter(loaded, MethodChoice(options={"rank": 4, "alpha": 8}), shapes, seed=1)
    for options, start in ((DPO, 0.6931), (KTO, (4 * 1.5 + 2 * 0.5) / 6 / 2)):
        objective, pairs = measured(fresh, options)
        found = objective.step([list(pairs)], torch.Tensor.backward)
        assert found.loss == pytest.approx(start, abs=1e-4)
        assert found.preference is not None and found.preference.kl == pytest.approx(0, abs=1e-4)
        fresh.zero_grad()


def test_a_mismatched_answer_never_belongs_to_the_same_prompt_and_fits(model):
    pairs = pairs_of(KTO, times=2)
    assert len(pairs) == 12 and pairs.size == 6 and pairs[0] == pairs[1]
    for place in range(pairs.size):
        pair = pairs.different(place)
        prompt = pair.first.ids[: pair.first.spans[0].start]
        assert pair.second is not None and pair.second.ids[: len(prompt)] == prompt
        assert (
            pair.second.ids[len(prompt) :]
            == pairs.different((place + 1) % 6).first.ids[pairs.different((place + 1) % 6).first.spans[0].start :]
        )
        assert pair.second.spans[0].start == len(prompt) and pair.second.ids[-1] == STOP_ID
    alone = Pairs(Sequences(), are_compared=False)
    alone._own.add(rows()[0][0]), alone._own.add(rows()[0][1])
    alone.add_labelled(0, is_good=True, times=1), alone.add_labelled(1, is_good=False, times=1)
    assert alone.mismatch(64) == 2  # one prompt alone: nothing to compare with


def test_a_pair_takes_the_room_of_its_longer_side_twice(model):
    pairs = pairs_of(DPO)
    for pair, length in zip(pairs, pairs.lengths, strict=True):
        assert length == 2 * max(len(pair.first.ids), len(pair.second.ids))


def test_the_distance_is_never_negative_and_0_where_nothing_is_measured():
    assert (distance([-3.0, 1.0]), distance([]), distance([1.0, 2.0])) == (0.0, 0.0, 1.5)


def test_rewards_above_the_distance_cost_less_for_good_answers_and_more_for_bad_ones():
    policy, reference = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])
    good, bad = kto_losses(policy, reference, torch.tensor([True, False]), 0.5, KTO).tolist()
    assert good == pytest.approx(1.5 * (1 - 1 / (1 + 2.718281828**-0.15)), rel=1e-5)
    assert bad == pytest.approx(0.5 / (1 + 2.718281828**-0.15), rel=1e-5)
    (loss,), (margin,) = dpo_losses(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2), beta=0.5)
    assert float(margin) == 0.5 and float(loss) == pytest.approx(0.4741, abs=1e-4)


def test_a_fall_of_the_chosen_answers_is_said_once():
    def seen(now: float) -> Seen:
        one = Seen(DPO, 0.0)
        one.add(torch.zeros(1), torch.tensor([[now, -30.0]]), torch.tensor([[-10.0, -20.0]]), [True])
        return one

    watch = ChosenWatch()
    assert watch.after_evaluation(seen(-11.9)) is None
    said = watch.after_evaluation(seen(-12.5))
    assert said is not None and "fallen by 25%" in said and watch.after_evaluation(seen(-20.0)) is None
    steps = ChosenWatch()
    assert [steps.after_step(seen(-14.0)) is None for _ in range(11)] == [True] * 9 + [False, True]


def test_accuracy_and_margin_are_those_of_the_pairs():
    one = Seen(DPO, 0.0)
    one.add(
        torch.zeros(2),
        torch.tensor([[-8.0, -9.0], [-5.0, -1.0]]),
        torch.tensor([[-9.0, -9.0], [-5.0, -2.0]]),
        [True] * 2,
    )
    found = one.figures()
    assert (found.chosen, found.rejected, found.accuracy) == (-6.5, -5.0, 0.5)
    assert found.margin == pytest.approx(0.3 * ((1 - 0) + (0 - 1)) / 2) and found.kl == pytest.approx(0.5)
