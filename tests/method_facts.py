"""Tries every method on every quantisation of a dense base and a mixture of experts: what trains, reloads, merges.

`python -m tests.method_facts` writes models/catalog/method_facts.json, which form, API and child go by.
"""

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from models.catalog.method_facts import FACTS, Fact, Structure, fact
from models.catalog.methods import METHODS
from models.domain.base_model import Shapes
from models.domain.errors import Invalid
from models.domain.merging import StorageDtype
from models.domain.training import MethodChoice, Quantisation
from tests.moe import tiny_moe
from tests.tiny import tiny_base
from worker.device import device_facts
from worker.loading import attach_adapter, load_base, load_dequantised
from worker.merge.fold import write_merged
from worker.merge.plan import plan_merge
from worker.merge.tensor_files import TensorFiles
from worker.train.adapter import fresh_adapter, save_adapter

DOCS = Path(__file__).parents[1] / "docs" / "training.md"
BEGIN, END = "<!-- method facts: python -m tests.method_facts -->", "<!-- end of method facts -->"
CPU = device_facts("cpu")
IDS = torch.tensor([[1, 40, 41, 42, 43, 44, 2], [1, 90, 91, 92, 93, 94, 2]])  # (B, T)
# What libraries say to a pair that they cannot do: it is the fact that we are after.
REFUSALS = (ValueError, TypeError, RuntimeError, AttributeError, KeyError, NotImplementedError, Invalid)
FOLDERS = {Structure.DENSE: tiny_base, Structure.MOE: tiny_moe}


@cache
def base_of(structure: Structure, biased: bool = False) -> Path:
    return FOLDERS[structure](Path(tempfile.mkdtemp()) / "base", biased=biased)


def base_for(name: str, structure: Structure = Structure.DENSE) -> Path:
    """One that the method can be tried on: biases can be trained only where there are some."""
    return base_of(structure, biased=name == "bias")


def small(name: str) -> dict[str, Any]:
    """Options that fit a base of width 32."""
    return {"rank": 4, "alpha": 8} if "rank" in METHODS[name].options.model_fields else {}


def shapes_of(base: Path) -> Shapes:
    return Shapes.model_validate_json((base / "shapes.json").read_text())


def moved(name: str, quantisation: Quantisation, structure: Structure, **options: Any) -> PeftModel:
    """An adapter after two steps of Adam."""
    base = base_for(name, structure)
    model = fresh_adapter(
        load_base(base, quantisation, CPU, torch.float32),
        MethodChoice(name=name, options=small(name) | options), shapes_of(base), seed=0,
    )  # fmt: skip
    optimiser = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimiser.step()
    return model.eval()


def measure(name: str, quantisation: Quantisation, structure: Structure) -> Fact:
    """What works here, found out by doing it."""
    base = base_for(name, structure)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = moved(name, quantisation, structure)
            said = _said(model)
        except REFUSALS as error:
            return Fact(trains=False, reloads=False, merges=False, batches=False, checkpoints=False, why=_line(error))
        save_adapter(model, Path(folder), "tiny")
        fresh = attach_adapter(load_base(base, quantisation, CPU, torch.float32), Path(folder))
        return Fact(
            trains=True,
            reloads=torch.allclose(_said(fresh), said, atol=1e-4),
            merges=METHODS[name].is_mergeable and _merges(Path(folder), base, quantisation, said),
            batches=_batches(fresh, load_base(base, quantisation, CPU, torch.float32), said),
            checkpoints=_checkpoints(model),
        )


def _said(model: torch.nn.Module, **extra: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False, **extra).logits[:, -IDS.shape[1] :]


def _merges(adapter: Path, base: Path, quantisation: Quantisation, said: torch.Tensor) -> bool:
    """Onto the weights it was trained on, by our own fold: the answers stay."""
    held: PreTrainedModel | None = None
    if quantisation is not Quantisation.NONE:
        held = load_dequantised(base, CPU, torch.float32, quantisation)
    layout = TensorFiles(base)
    state = held.state_dict() if held is not None else {}
    with tempfile.TemporaryDirectory() as folder:
        for path in base.glob("*.json"):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        plan = plan_merge(base, adapter, StorageDtype.FP32)
        write_merged(plan, layout, lambda name: state.get(name, layout.tensor(name)), Path(folder), lambda *_: None)
        merged = load_base(Path(folder), Quantisation.NONE, CPU, torch.float32)
        return torch.allclose(_said(merged), said, atol=1e-3)


def _batches(adapted: PeftModel, base: PreTrainedModel, said: torch.Tensor) -> bool:
    """One batch with a row for the adapter and one for the base."""
    try:
        mixed = _said(adapted, adapter_names=["default", "__base__"])
    except REFUSALS:
        return False
    return torch.allclose(mixed[0], said[0], atol=1e-4) and torch.allclose(mixed[1], _said(base)[1], atol=1e-4)


def _checkpoints(model: PeftModel) -> bool:
    """The gradient of a step is the same when layers forget what they computed and compute it again."""
    model.train()
    kept = _gradients(model)
    base: Any = model.get_base_model()
    base.activation_checkpointing_enable({"use_reentrant": False})
    try:
        again = _gradients(model)
    except REFUSALS:
        return False
    return all(torch.allclose(one, other, atol=1e-5) for one, other in zip(kept, again, strict=True))


def _gradients(model: PeftModel) -> list[torch.Tensor]:
    model.zero_grad(set_to_none=True)
    model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    trained = [one for one in model.parameters() if one.requires_grad]
    return [torch.zeros_like(one) if one.grad is None else one.grad.clone() for one in trained]


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160]


def every_pair() -> Iterator[tuple[str, Quantisation, Structure]]:
    for name in METHODS:
        for quantisation in Quantisation:
            for structure in Structure:
                yield name, quantisation, structure


def main() -> None:
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for name, quantisation, structure in every_pair():
        fact = measure(name, quantisation, structure)
        table.setdefault(name, {}).setdefault(quantisation, {})[structure] = fact.model_dump(exclude_defaults=True)
        print(name, quantisation, structure, fact)
    FACTS.write_text(json.dumps(table, indent=1) + "\n")
    DOCS.write_text(with_table(DOCS.read_text()))


def with_table(text: str) -> str:
    """The page with the table of facts as it is now between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_rows()}{END}{after}"


def _rows() -> str:
    """A row for each method: what works in every case, or where it does not."""
    lines = ["| method | trains and reloads | merges | shares a batch with others |", "|---|---|---|---|"]
    for name in METHODS:
        cells = [_cell(name, what) for what in ("trains", "merges", "batches")]
        lines.append(f"| {METHODS[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(name: str, what: str) -> str:
    cases = [(kind, structure) for _, kind, structure in every_pair() if _ == name]
    good = [case for case in cases if (found := fact(name, *case)) is not None and getattr(found, what)]
    if len(good) in (0, len(cases)):
        return "yes" if good else "no"
    return "only " + ", ".join(f"{kind.words} ({structure})" for kind, structure in good)


if __name__ == "__main__":
    main()
