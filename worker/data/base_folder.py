"""The text side of a base model's folder: tokenizer, special tokens, templates, stop ids. Opens no weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from models.domain.errors import Code, Invalid

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True)
class BaseFolder:
    """What rendering needs of a base. `templates` is keyed by name; "default" is the usual one."""

    tokenizer: Tokenizer
    special_tokens: dict[str, str]
    templates: dict[str, str]
    generation_stop_ids: tuple[int, ...]


def read_base_folder(folder: Path) -> BaseFolder:
    """Read tokenizer.json and, where they exist, the JSON and template files beside it.

    Raises Invalid with code `invalid_base` naming the file that is missing or cannot be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _unusable("it holds no tokenizer.json; bases need a fast tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as fault:  # noqa: BLE001 - the Rust library raises bare Exception, and nothing else
        raise _unusable(f"its tokenizer.json cannot be read ({str(fault)[:120]})") from None
    # A saved tokenizer may carry the padding or truncation of its last use, which would cut answers silently.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    config = _json_of(folder / "tokenizer_config.json")
    return BaseFolder(
        tokenizer=tokenizer,
        special_tokens=_special_tokens(folder, config),
        templates=_templates(folder, config),
        generation_stop_ids=_stop_ids(_json_of(folder / "generation_config.json")),
    )


def _json_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _unusable(f"its {path.name} is not JSON") from None
    if not isinstance(content, dict):
        raise _unusable(f"its {path.name} is not a JSON object")
    return content


def _special_tokens(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """The named tokens as templates see them. The older map file counts only where the config lists no tokens."""
    found = dict(config)
    if "added_tokens_decoder" not in config:
        found.update(_json_of(folder / "special_tokens_map.json"))
    tokens: dict[str, str] = {}
    for name in NAMED_TOKENS:
        value = found.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return tokens


def _templates(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    templates: dict[str, str] = {}
    listed = config.get("chat_template")
    if isinstance(listed, str):
        templates["default"] = listed
    elif isinstance(listed, list):
        templates.update({entry["name"]: entry["template"] for entry in listed if _is_named_template(entry)})
    # Files win over the config, as in transformers.
    path = folder / "chat_template.jinja"
    if path.is_file():
        templates["default"] = path.read_text(encoding="utf-8")
    for extra in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[extra.stem] = extra.read_text(encoding="utf-8")
    return templates


def _is_named_template(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)


def _stop_ids(generation: dict[str, Any]) -> tuple[int, ...]:
    value = generation.get("eos_token_id")
    listed = value if isinstance(value, list) else [value]
    return tuple(each for each in listed if isinstance(each, int))


def _unusable(why: str) -> Invalid:
    return Invalid(f"this base cannot be used: {why}. Import it again or choose another.", code=Code.INVALID_BASE)
