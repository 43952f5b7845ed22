"""A training's settings as YAML with files in place of ids, for a machine without a server. Opens nothing.

It is the text of `train_yaml`: `base` may be a folder, a .gguf file or a hub's name, and each place of a dataset may
hold the path of a file or a list of paths, which then are one dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.domain.ids import BaseId
from models.domain.training import TrainingSpec
from webapp.views import train_yaml
from webapp.views.plain_yaml import loaded, refused, shown
from webapp.views.train_yaml import Names

Paths = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LocalJob:
    """All as written, nothing looked up. `training` and `validation` may be empty; `mixed` has the spec's order.

    `start_adapter` is a folder; the adapter's own method and quantisation count where the text says none.
    """

    spec: TrainingSpec
    names: Names
    base: str
    training: Paths
    mixed: tuple[Paths, ...]
    validation: Paths
    start_adapter: str | None
    says_method: bool
    says_quantisation: bool


def read(text: str) -> LocalJob:
    """Raises Invalid with all problems as sentences, as `train_yaml.read` does."""
    told = loaded(text)
    data = told.get("data")
    data = dict(data) if isinstance(data, dict) else {}
    rows = data.get("rows")
    listed = rows.get("mixed") if isinstance(rows, dict) else None
    training = _taken(data, "training_file", "data.training_file", "training")
    validation = _taken(data, "validation_file", "data.validation_file", "validation")
    if isinstance(rows, dict) and isinstance(listed, list):
        # Copies: what is not a mapping is refused where the whole is read.
        places = [dict(one) if isinstance(one, dict) else one for one in listed]
        mixed = tuple(
            _taken(one, "file", f"data.rows.mixed.{place}.file", f"mixed-{place + 1}") if isinstance(one, dict) else ()
            for place, one in enumerate(places)
        )
        data["rows"] = {**rows, "mixed": places}
    else:
        mixed = ()
    base = told.get("base")
    if base is not None and not isinstance(base, str):
        raise refused([f"base: {shown(base)} was given; it needs a text. Put it in quotation marks."])
    if isinstance(told.get("data"), dict):
        told["data"] = data
    start = _taken(told, "start_adapter", "start_adapter", "adapter")
    pasted = train_yaml.understood(told)
    spec = pasted.spec.model_copy(update={"base": BaseId(""), "start_adapter": None})
    return LocalJob(
        spec=spec, names=pasted.names, base=base or "", training=training, mixed=mixed, validation=validation,
        start_adapter=start[0] if start else None, says_method=told.get("method") is not None,
        says_quantisation=told.get("quantisation") is not None,
    )  # fmt: skip


def with_validation(spec: TrainingSpec, files: Sequence[str]) -> TrainingSpec:
    """With a file of its own to validate on, where there is one."""
    data = spec.data.model_copy(update={"validation_file": "validation" if files else None})
    return spec.model_copy(update={"data": data})


def _taken(place: dict[str, Any], name: str, path: str, stands_for: str) -> Paths:
    """The paths at `name`, which then holds one word in their place."""
    value = place.get(name)
    if value is None or value == "":
        return ()
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(one, str) and one for one in paths):
        raise refused([f"{path}: {shown(value)} was given; it needs a path or a list of paths. Correct it."])
    place[name] = stands_for
    return tuple(paths)
