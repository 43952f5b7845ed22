"""The part of an adapter's page that asks which training rows are like a text. Says that likeness is no proof."""

from functools import partial

import gradio as gr

from models.domain.errors import AppError
from models.domain.question import LONGEST_ASKED
from webapp.actions.describe_adapter import describe_adapter
from webapp.actions.like_rows import like_rows
from webapp.deps import Deps
from webapp.pages.wiring import asked, caller, on
from webapp.views import adapter_page as view
from webapp.views.markup import render

_html = partial(gr.HTML, padding=False, apply_default_css=False)


class LikeRowsPart:
    """A text box, a button and the rows."""

    def __init__(self, deps: Deps) -> None:
        _html('<h2>Which rows taught this?</h2><p class="tr-hint">Paste a question or an answer: the rows it was '
                "trained on that share the most of its rare words come first. Likeness in words is a hint, "
                "not a proof of influence.</p>", elem_classes="tr")  # fmt: skip
        text = gr.Textbox(label="A question or an answer", lines=2, max_lines=8, max_length=LONGEST_ASKED)
        button = gr.Button("Search its rows", elem_classes="tr-part-button", elem_id="adapter-like-rows")
        shown = _html(elem_classes="tr-problem")

        def search(words: str, request: gr.Request) -> str:
            try:
                page = describe_adapter(deps, caller(request), asked(request, "id"))
                if page.run is None:
                    return view.problem("The run that made this adapter was deleted, so its rows are not known.")
                found = like_rows(deps, caller(request), page.run, words or "")
            except AppError as error:
                return view.problem(error.message)
            return render("like_rows.html", found=found)

        on(button.click, search, text, shown, is_long=True)
