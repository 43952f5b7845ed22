"""The list of adapters, or of merges, as HTML. Knows facts, no database."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from webapp.views.adapter_words import mode_in_words
from webapp.views.markup import render
from webapp.views.model_names import short_name


def adapters_list(
    *, asked: Any, adapters: Sequence[Any], merges: Sequence[Any], adapter_count: int, merge_count: int, pages: int
) -> Markup:
    """`asked` has `of_merges`, `search` and `page`; lines are dataclasses with a public `name`."""
    return render(
        "adapters_list.html",
        asked=asked,
        adapters=[asdict(line) | {"short": short_name(line.name)} for line in adapters],
        merges=[asdict(line) | {"short": short_name(line.name), "mode": mode_in_words(line.mode)} for line in merges],
        adapter_count=adapter_count,
        merge_count=merge_count,
        pages=pages,
    )
