"""The tab where a row is seen as a base is trained on it: its controls. `preview.js` asks for the row itself. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from models.domain.training import DataSpec, OverLong, TrainOn
from webapp.views.markup import render

DEFAULT_LENGTH: int = DataSpec.model_fields["max_length"].default


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How somebody looks at the data, as the page's address says it. `args` as typed: "enable_thinking = false"."""

    base_id: str | None = None
    max_length: int = DEFAULT_LENGTH
    over_long: OverLong = OverLong.DROP
    train_on: TrainOn = TrainOn.ASSISTANT
    args: str = ""
    row: int = 1


@dataclass(frozen=True, kw_only=True)
class BaseChoice:
    id: str
    name: str


def often_used(used: Sequence[str | None], ids: Sequence[str]) -> str | None:
    """The base that was used most among those that are there, else the first; None where there is none."""
    found = Counter(base for base in used if base in ids)
    return found.most_common(1)[0][0] if found else next(iter(ids), None)


def preview_part(shown: Any, bases: Sequence[BaseChoice], looking: Looking) -> Markup:
    """`shown` is the version as the action `show_dataset` returns it."""
    return render(
        "dataset_preview.html",
        bases=bases,
        base_id=looking.base_id,
        is_usable=shown.check.state.is_usable,
        is_moving=shown.check.state.is_moving,
        file_id=shown.version.id,
        rows=shown.version.rows or 0,
        ask="#dataset-ask",
        max_length=looking.max_length,
        over_long=looking.over_long,
        train_on=looking.train_on,
        over_words=words_of("over_long"),
        train_words=words_of("train_on"),
        args=looking.args,
        row=looking.row,
    )


def words_of(field: str) -> list[tuple[str, str]]:
    """The values of a choice in the training form, with the words it uses for them."""
    extra = DataSpec.model_fields[field].json_schema_extra
    assert isinstance(extra, dict) and isinstance(extra["words"], dict)
    return [(value, str(word)) for value, word in extra["words"].items()]
