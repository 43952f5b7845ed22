"""Writes what every canonical base folder carries beside its weights: shapes.json and facts.json.

Reads headers and JSON only: no torch, so tests and small tools can use it. A weight's kind is told by its name
and number of axes; a test holds that against the modules transformers really builds.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from models.domain.base_model import BaseFacts, ModuleShape, Shapes
from models.domain.errors import Code, Invalid
from worker.jobdir import sha256_of, write_atomically

_DTYPES: dict[str, str] = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}


def write_shapes(base: Path) -> Shapes:
    """Count the folder's tensors into shapes.json."""
    config = json.loads((base / "config.json").read_text())
    text = config.get("text_config", config)
    tensors = _headers(base)
    modules = [_module(name, entry, tensors) for name, entry in tensors.items() if name.endswith(".weight")]
    if config.get("tie_word_embeddings", False) and "lm_head.weight" not in tensors:
        embedding = next(module for module in modules if module.kind == "embedding")
        modules.append(embedding.model_copy(update={"name": "lm_head", "kind": "linear", "tied_to": embedding.name}))
    shapes = Shapes(
        architecture=(config.get("architectures") or [config["model_type"]])[0],
        hidden_size=text["hidden_size"],
        layers=text["num_hidden_layers"],
        vocabulary=text["vocab_size"],
        context_length=text["max_position_embeddings"],
        parameters=sum(_count(entry["shape"]) for entry in tensors.values()),
        modules=tuple(modules),
    )
    write_atomically(base / "shapes.json", shapes.model_dump_json(indent=1))
    return shapes


def write_facts(base: Path, *, licence: str | None, source: str, revision: str | None, remark: str | None) -> BaseFacts:
    """Read tokenizer, template and stop tokens back from the folder into facts.json."""
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    settings = json.loads((base / "tokenizer_config.json").read_text())
    template_path = base / "chat_template.jinja"
    template = template_path.read_text() if template_path.exists() else None
    facts = BaseFacts(
        licence=licence,
        chat_template=template,
        chat_template_sha256=hashlib.sha256(template.encode()).hexdigest() if template is not None else None,
        tokenizer_sha256=sha256_of(base / "tokenizer.json"),
        bos_token=_text(settings.get("bos_token")),
        eos_token=_text(settings.get("eos_token")),
        stop_token_ids=_stop_ids(base, tokenizer, _text(settings.get("eos_token"))),
        source=source,
        revision=revision,
        remark=remark,
    )
    write_atomically(base / "facts.json", facts.model_dump_json(indent=1))
    return facts


def _stop_ids(base: Path, tokenizer: dict[str, Any], eos_token: str | None) -> tuple[int, ...]:
    """generation_config's stop ids first, then the tokenizer's own EOS: any of them ends an answer."""
    path = base / "generation_config.json"
    listed = json.loads(path.read_text()).get("eos_token_id") if path.exists() else None
    ids = list(listed) if isinstance(listed, list) else [] if listed is None else [listed]
    ids += [token["id"] for token in tokenizer.get("added_tokens", []) if token["content"] == eos_token]
    if not ids:
        raise Invalid(
            "this base names no end-of-text token, so an answer could never stop. "
            "A generation_config.json with eos_token_id, or an eos_token in tokenizer_config.json, is needed.",
            code=Code.INVALID_BASE,
        )
    return tuple(dict.fromkeys(ids))


def _text(token: str | dict[str, Any] | None) -> str | None:
    """tokenizer_config.json spells a token as text or as an object."""
    return token["content"] if isinstance(token, dict) else token


def _headers(base: Path) -> dict[str, dict[str, Any]]:
    """Name -> {dtype, shape} of every tensor in the folder's safetensors files, by name."""
    tensors: dict[str, dict[str, Any]] = {}
    for path in sorted(base.glob("*.safetensors")):
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            tensors |= json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    return dict(sorted(tensors.items()))


def _module(name: str, entry: dict[str, Any], tensors: dict[str, dict[str, Any]]) -> ModuleShape:
    module = name.removesuffix(".weight")
    axes = len(entry["shape"])
    if axes == 1:
        kind = "norm"
    elif axes == 2:
        kind = (
            "embedding" if module.rpartition(".")[2] in ("embed_tokens", "wte", "wpe", "word_embeddings") else "linear"
        )
    else:
        kind = "other"
    return ModuleShape(
        name=module, kind=kind, shape=tuple(entry["shape"]), dtype=_dtype(entry["dtype"]),
        has_bias=f"{module}.bias" in tensors,
    )  # fmt: skip


def _dtype(stored: str) -> str:
    return _DTYPES.get(stored, stored.lower())


def _count(shape: list[int]) -> int:
    count = 1
    for axis in shape:
        count *= axis
    return count
