"""How a model is named where one is picked: a short name, what it is, the weights that answer. Pure words."""

from webapp.views.markup import short_number
from webapp.views.model_names import short_name


def model_words(kind: str, name: str, base: str, precision: str, parameters: int | None) -> dict[str, str]:
    """`name` is the public id; `label` is what a list of choices shows."""
    short = short_name(name)
    weights = {"full precision": ""}.get(precision, precision)
    match kind:
        case "base":
            what = " · ".join(part for part in ("base model", _size(parameters)) if part)
        case "merge":
            what = f"merge on {base}"
        case _:
            what = f"adapter on {base}"
    return {
        "short": short,
        "what": what,
        "precision": precision,
        "label": " · ".join(part for part in (short, "" if kind == "base" else base, weights) if part),
    }


def _size(parameters: int | None) -> str:
    return f"{short_number(parameters)} parameters" if parameters else ""
