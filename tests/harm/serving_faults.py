"""Faults between training and use: another base, tokenizer, template or precision, and merges."""

import shutil
from pathlib import Path

from pydantic import ValidationError

from models.domain.ids import Sha256
from models.domain.merging import MergeSpec
from models.domain.training import Quantisation
from tests.harm.lab import Lab, edited, refusal_of
from tests.harm.registry import How, Where, fault
from tests.tiny import tiny_base
from tests.training import TREE_SHA256
from worker.chat.residents import ResidentKey, Residents
from worker.device import device_facts
from worker.loading import MANIFEST, WEIGHTS, verify_adapter


def _verified(lab: Lab, adapter: Path, base: Path, tree_sha256: str = TREE_SHA256) -> list[str]:
    def verify() -> list[str]:
        verify_adapter(adapter, base, tree_sha256)
        return []

    return refusal_of(verify)


def _copied(lab: Lab) -> tuple[Path, Path]:
    """The sound training's adapter and base, to be changed."""
    folder = lab.new()
    trained = lab.shared.trained
    adapter, base = folder / "adapter", folder / "base"
    shutil.copytree(trained.out, adapter)
    shutil.copytree(trained.inputs / "base", base)
    return adapter, base


@fault(
    "An adapter on another base of the same shape",
    where=Where.SERVING,
    how=How.STOPPED,
    says="the base's content is not the one it was trained with",
    harm="PEFT loads it without a word, and the answers are noise",
)
def other_base(lab: Lab, planted: bool) -> list[str]:
    adapter, base = _copied(lab)
    if not planted:
        return _verified(lab, adapter, base)
    return _verified(lab, adapter, tiny_base(lab.new() / "base", seed=1), "1" * 64)


@fault(
    "A tokenizer that changed after training",
    where=Where.SERVING,
    how=How.STOPPED,
    says="the tokenizer is not the one it was trained with",
    harm="questions become other tokens than those that were trained",
)
def other_tokenizer(lab: Lab, planted: bool) -> list[str]:
    adapter, base = _copied(lab)
    if planted:
        with edited(base / "tokenizer.json") as tokenizer:
            tokenizer["added_tokens"] = tokenizer["added_tokens"][:2]
    return _verified(lab, adapter, base)


@fault(
    "A template that changed after training",
    where=Where.SERVING,
    how=How.STOPPED,
    says="the chat template is not the one it was trained with",
    harm="the prompt is not the one that was trained; answers drift towards the base's",
)
def other_template(lab: Lab, planted: bool) -> list[str]:
    adapter, base = _copied(lab)
    if planted:
        with edited(base / "facts.json") as facts:
            facts["chat_template_sha256"] = "0" * 64
    return _verified(lab, adapter, base)


@fault(
    "An adapter file that changed",
    where=Where.SERVING,
    how=How.STOPPED,
    says="the weight file is not the one it was trained with",
    harm="one wrong bit in an exponent makes a weight of 1e38",
)
def changed_weights(lab: Lab, planted: bool) -> list[str]:
    adapter, base = _copied(lab)
    if planted:
        data = bytearray((adapter / WEIGHTS).read_bytes())
        data[-1] ^= 0x40
        (adapter / WEIGHTS).write_bytes(data)
    return _verified(lab, adapter, base)


@fault(
    "An adapter that says nothing of its base",
    where=Where.SERVING,
    how=How.STOPPED,
    says="it has no manifest",
    harm="its base is guessed from a name",
)
def unknown_adapter(lab: Lab, planted: bool) -> list[str]:
    adapter, base = _copied(lab)
    if planted:
        (adapter / MANIFEST).unlink()
    return _verified(lab, adapter, base)


@fault(
    "An adapter on its base in another precision",
    where=Where.SERVING,
    how=How.STOPPED,
    says="which is another model",
    harm="NF4 and the original are different models: SmolLM2's first choices agree in 60 of 100 places (KL 0.75)",
)
def other_precision(lab: Lab, planted: bool) -> list[str]:
    adapter, base = _copied(lab)
    held = Quantisation.NONE if planted else Quantisation.NF4

    def ask() -> list[str]:
        residents = Residents(device_facts("cpu"), 10**9)
        residents.ready(ResidentKey(base=Sha256(TREE_SHA256), quantisation=held), base, Sha256("a" * 64), adapter)
        return []

    return refusal_of(ask)


@fault(
    "A merge into 4-bit weights",
    where=Where.MERGING,
    how=How.STOPPED,
    says="Input should be 'full_precision' or 'as_tested'",
    harm="rounding to 4 bits deletes the training: loss on taught facts 0.051 before, 3.756 after",
)
def merged_into_4_bit(lab: Lab, planted: bool) -> list[str]:
    try:
        MergeSpec.model_validate({"adapter": "adapter-1", "mode": "nf4" if planted else "as_tested"})
    except ValidationError as error:
        return [str(error)]
    return []
