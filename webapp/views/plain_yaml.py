"""A text of YAML as plain values, read with suspicion. Knows no training: what the values mean is `train_yaml`'s.

An anchor, alias, tag or second document is refused before anything is built (a few lines of aliases can grow to
gigabytes), and the size and depth are bounded.
"""

from typing import Any

import yaml
from yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

from models.domain.errors import Invalid
from webapp.views.fields import cut

LONGEST = 20_000  # characters; a whole training takes about 900
DEEPEST = 6


def loaded(text: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise refused(
            [f"{len(text):,} characters were given; a training takes up to {LONGEST:,}. Paste its settings alone."]
        )
    if not text.strip():
        raise refused(["Nothing was pasted. Paste the text that Copy as YAML gave."])
    try:
        _check_plain(text)
        told = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark else "the text"
        raise refused([f"{where} is not YAML: {error.problem or error.context}. Correct it and try again."]) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise refused(["The text cannot be read as YAML. Paste the text that Copy as YAML gave."]) from None
    if not isinstance(told, dict):
        raise refused([f"{shown(told)} was given; settings are lines of the form name: value. Paste the whole text."])
    return told


def _check_plain(text: str) -> None:
    """Looks at the text's events, before any value is built."""
    depth = documents = 0
    keys: list[set[str] | None] = []  # of each open mapping; None for a list
    is_key: list[bool] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise refused(
                [f"line {line} uses an anchor or alias (& or *); settings need neither. Write the value out."]
            )
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise refused([f"line {line} begins a second document; one training was expected. Paste one."])
        if (tag := getattr(event, "tag", None)) is not None:
            raise refused([f"line {line} uses a tag ({cut(str(tag))}); settings are plain values. Remove it."])
        if isinstance(event, ScalarEvent) and is_key and is_key[-1]:
            known = keys[-1]
            assert known is not None
            if event.value in known:
                raise refused([f"line {line} says {cut(event.value)} a second time. Say it once."])
            known.add(event.value)
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            depth += 1
            if depth > DEEPEST:
                raise refused(
                    [f"line {line} is nested {depth} deep; settings need {DEEPEST} at most. Paste the whole text."]
                )
            _turn(is_key, keys)
            is_mapping = isinstance(event, MappingStartEvent)
            keys.append(set() if is_mapping else None)
            is_key.append(is_mapping)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
            keys.pop()
            is_key.pop()
        elif isinstance(event, ScalarEvent):
            _turn(is_key, keys)


def _turn(is_key: list[bool], keys: list[set[str] | None]) -> None:
    """In a mapping, keys and values take turns."""
    if is_key and keys[-1] is not None:
        is_key[-1] = not is_key[-1]


def shown(value: Any) -> str:
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return "something very long"


def refused(problems: list[str]) -> Invalid:
    return Invalid(" ".join(problems), problems=tuple(problems))
