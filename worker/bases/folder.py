"""Copies the data files of a Hugging Face folder, and nothing that could run. Weights keep their dtype."""

import json
import shutil
from pathlib import Path
from typing import Any, NoReturn, cast

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from models.domain.errors import Code, Invalid
from worker.bases.found import Found

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def from_folder(source: Path, out: Path) -> Found:
    """Check, copy and complete; raises INVALID_BASE with what is missing."""
    config = _config(source)
    _check_weights(source)
    if not (source / "tokenizer.json").is_file():
        _refuse(
            "the folder has no tokenizer.json; a tokenizer in that form is needed. "
            "Save the model again with its fast tokenizer."
        )
    for path in sorted(source.glob("*.safetensors")):
        shutil.copyfile(path, out / path.name)
    for name in ("model.safetensors.index.json", "tokenizer.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    _write(out / "config.json", {name: value for name, value in config.items() if name != "_name_or_path"})
    _write_tokenizer_settings(source, out)
    _write_generation(source, out, config)
    _check_fit(out)
    return Found(licence=None, title=None, remark=None)


def _config(source: Path) -> dict[str, Any]:
    config = _read(source / "config.json", "a model's config.json")
    if "auto_map" in config:
        _refuse("this model brings its own Python code (auto_map), which is never run here. Choose a built-in one.")
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "unknown")
        _refuse(f"this model is already quantised ({method}); its original weights are needed. Import those instead.")
    if "hidden_size" not in config.get("text_config", config):
        _refuse("its config.json names no hidden_size; a decoder-only text model is needed. Choose another base.")
    return config


def _check_weights(source: Path) -> None:
    if any(source.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in source.glob(pattern))
    if pickles:
        _refuse(
            f"the weights are in {pickles[0]}, a pickle that can run code when opened; safetensors files are needed. "
            "Convert it where it came from."
        )
    _refuse("the folder has no weights; safetensors files are needed. Point at the folder that holds them.")


def _write_tokenizer_settings(source: Path, out: Path) -> None:
    """The template moves to its own file; the rest stays."""
    settings = _read(source / "tokenizer_config.json", "a tokenizer_config.json")
    if "auto_map" in settings:
        _refuse("this tokenizer brings its own Python code (auto_map), which is never run here. Choose another base.")
    template = settings.pop("chat_template", None)
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default", next(iter(named.values()), None))
    beside = source / "chat_template.jinja"
    if beside.is_file():
        template = beside.read_text()
    if template is not None:
        (out / "chat_template.jinja").write_text(template)
    _write(out / "tokenizer_config.json", settings)


def _write_generation(source: Path, out: Path, config: dict[str, Any]) -> None:
    """Stop ids travel in generation_config.json; older folders have them in the config only."""
    path = source / "generation_config.json"
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    content = _read(path, "it") if path.is_file() else {name: config[name] for name in ids if name in config}
    _write(out / "generation_config.json", content)


def _check_fit(out: Path) -> None:
    """Every weight the architecture needs is in the files."""
    try:
        config = AutoConfig.from_pretrained(out, trust_remote_code=False, local_files_only=True)
        loaded = AutoModelForCausalLM.from_pretrained(
            out, config=config, dtype="auto", local_files_only=True, trust_remote_code=False, use_safetensors=True,
            output_loading_info=True,
        )  # fmt: skip
        model, loading = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
    except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
        raise Invalid(
            "config and weights of this base do not fit together, or its architecture is unknown here. "
            "A decoder-only model that transformers knows is needed. Get the folder again or choose another base.",
            code=Code.INVALID_BASE,
        ) from error
    if loading["missing_keys"]:
        names = sorted(loading["missing_keys"])
        _refuse(f"the weights lack {len(names)} of {type(model).__name__}'s tensors, first {names[0]}. Get them all.")


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        _refuse(f"the folder has no {path.name}; {what} is needed. Point at a complete model folder.")
    except (ValueError, OSError):
        _refuse(f"{path.name} cannot be read as JSON. Get the file again.")
    if not isinstance(content, dict):
        _refuse(f"{path.name} is not a JSON object. Get the file again.")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True))


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_BASE)
