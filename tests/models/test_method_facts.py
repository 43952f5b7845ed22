"""The table of what works decides before anything is queued, and names what does."""

import json

import pytest

from models.catalog import method_facts
from models.catalog.method_facts import Structure, check_choice, check_pair, fact
from models.catalog.methods import METHODS
from models.domain.base_model import ModuleShape, Shapes
from models.domain.errors import Code, Invalid
from models.domain.ids import BaseId, FileId
from models.domain.training import DataSpec, MethodChoice, Quantisation, ScheduleSpec, TrainingSpec

WORKS = {"trains": True, "reloads": True, "merges": True, "batches": True, "checkpoints": True}
FAILS = {"trains": False, "reloads": False, "merges": False, "batches": False, "checkpoints": False, "why": "no kernel"}


def shapes(*names: str) -> Shapes:
    modules = tuple(ModuleShape(name=name, kind="linear", shape=(8, 8), dtype="bf16") for name in names)
    return Shapes(architecture="X", hidden_size=8, layers=1, vocabulary=8, context_length=8, parameters=64,
                  modules=modules)  # fmt: skip


DENSE, MIXTURE = shapes("model.layers.0.q_proj"), shapes("model.layers.0.q_proj", "model.layers.0.experts.0.w1")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table in which DoRA trains in full precision only, and not at all on a mixture."""
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"dora": {
        "none": {"dense": WORKS, "moe": FAILS}, "int8": {"dense": FAILS, "moe": FAILS},
    }}))  # fmt: skip
    monkeypatch.setattr(method_facts, "FACTS", path)
    fact.cache_clear()
    yield
    fact.cache_clear()


@pytest.mark.usefixtures("table")
def test_a_pair_that_does_not_work_is_refused_beside_the_quantisation_with_what_does():
    check_pair("dora", Quantisation.NONE, DENSE)
    with pytest.raises(Invalid) as caught:
        check_pair("dora", Quantisation.INT8, DENSE)
    assert caught.value.code is Code.INVALID_SETTING and caught.value.facts["param"] == "quantisation"
    assert caught.value.message == (
        "DoRA does not train on a base held in int8. Hold the base in full precision, or choose another method."
    )


@pytest.mark.usefixtures("table")
def test_a_method_that_never_works_on_such_a_base_is_refused_beside_the_method():
    with pytest.raises(Invalid) as caught:
        check_pair("dora", Quantisation.INT8, MIXTURE)
    assert caught.value.facts["param"] == "method.name"
    assert "a base of a mixture of experts held in int8. Choose another method." in caught.value.message


def test_every_pair_of_the_catalog_is_in_the_table():
    assert all(fact(name, kind, base) is not None for name in METHODS for kind in Quantisation for base in Structure)


def wish(method: str, *, is_checkpointing: bool = False, **options: int) -> TrainingSpec:
    return TrainingSpec(
        base=BaseId("base-1"), data=DataSpec(training_file=FileId("file-1")),
        method=MethodChoice(name=method, options=options),
        schedule=ScheduleSpec(gradient_checkpointing=is_checkpointing),
    )  # fmt: skip


def test_a_prefix_is_refused_beside_gradient_checkpointing_where_its_layers_would_not_see_it():
    check_choice(wish("prefix", tokens=4), DENSE)
    check_choice(wish("prompt", tokens=4, is_checkpointing=True), DENSE)
    with pytest.raises(Invalid, match="Prefix tuning does not train with activations computed twice") as caught:
        check_choice(wish("prefix", tokens=4, is_checkpointing=True), DENSE)
    assert caught.value.facts["param"] == "schedule.gradient_checkpointing"


def test_virtual_tokens_leave_at_least_half_of_the_context():
    with pytest.raises(Invalid, match=r"5 virtual tokens take more than half of the 8 tokens .* at most 4") as caught:
        check_choice(wish("prompt", tokens=5), DENSE)
    assert caught.value.facts["param"] == "method.options.tokens"


def test_a_prefix_is_refused_on_a_base_without_keys_and_values_of_its_own():
    method = METHODS["prefix"]
    with pytest.raises(Invalid, match="keys and values of one width in every layer"):
        method.cost(DENSE, method.options())
