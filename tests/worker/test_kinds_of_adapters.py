"""Adapters of different kinds on one resident base: each answers as it was trained, and the base as before."""

import pytest
import torch

from models.domain.errors import AppError
from models.domain.ids import Sha256
from models.domain.training import MethodChoice, Quantisation
from tests.method_facts import shapes_of
from tests.training import TREE_SHA256, training_job
from worker.chat.residents import ResidentKey, Residents
from worker.device import device_facts
from worker.loading import attach_adapter, load_base, load_dequantised
from worker.stop import Stop
from worker.train.adapter import fresh_adapter
from worker.train.run import run

CPU = device_facts("cpu")
IDS = torch.tensor([[1, 40, 41, 42, 43, 44]])  # (B, T)
KINDS = ("lora", "ia3", "dora", "layernorm", "pissa")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One adapter of each kind, trained on the same base in int8."""
    root = tmp_path_factory.mktemp("kinds")
    folders = {}
    for kind in KINDS:
        options = {"rank": 4} if kind in ("dora", "pissa") else {}
        jobdir = training_job(
            root / kind, method=kind, options=options, quantisation="int8", data={"sample_rows": 0}, learning_rate=0.05
        )
        assert run(jobdir, Stop()).status == "succeeded"
        folders[kind] = jobdir.out
    return root / "lora" / "in" / "base", folders


@torch.no_grad()
def test_kinds_take_turns_on_one_base_and_leave_it_as_it_was(trained):
    base, folders = trained
    residents = Residents(CPU, memory_bytes=10**9)
    key = ResidentKey(base=Sha256(TREE_SHA256), quantisation=Quantisation.INT8)
    alone = residents.ready(key, base)(IDS).logits
    for kind in (*KINDS, *reversed(KINDS), "ia3", "lora"):
        model = residents.ready(key, base, Sha256(kind * 12), folders[kind])
        fresh = attach_adapter(load_dequantised(base, CPU, torch.float32, Quantisation.INT8), folders[kind])
        said = model(IDS).logits
        assert torch.allclose(said, fresh(IDS).logits, atol=1e-5), kind
        assert not torch.allclose(said, alone, atol=1e-3), kind
        assert torch.equal(residents.ready(key, base)(IDS).logits, alone), kind


def test_norms_are_not_trained_in_bf16(trained):
    base, _ = trained
    model = load_base(base, Quantisation.NONE, CPU, torch.bfloat16)
    with pytest.raises(AppError, match="must be float32, and this base computes in bfloat16"):
        fresh_adapter(model, MethodChoice(name="layernorm"), shapes_of(base), seed=0)
