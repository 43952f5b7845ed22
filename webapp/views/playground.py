"""How a model is named where one is picked: a short name, what it is, the weights that answer. Pure words."""

from webapp.views.markup import short_number
from webapp.views.model_names import short_name


def model_words(kind: str, name: str, base: str, precision: str, parameters: int | None) -> dict[str, str]:
    """`name` is the public id; `label` is what a list of choices shows."""
    short = short_name(name)
    weights = "" if precision == "full precision" else precision
    on_base = "" if short.startswith(base) else base  # an adapter without a name of its own is called after it
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
        "label": " · ".join(part for part in (short, on_base, weights) if part),
    }


def _size(parameters: int | None) -> str:
    return f"{short_number(parameters)} parameters" if parameters else ""
