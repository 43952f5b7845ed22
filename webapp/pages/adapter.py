"""One adapter, or one merge: what it is, where it comes from, a chat, its merge, its links, its card, its config."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from models.domain.access import Member
from models.domain.errors import Invalid, NotFound
from models.domain.ids import AdapterId
from models.domain.merging import MergeMode, MergeSpec, StorageDtype
from webapp.actions.describe_adapter import AdapterPage, MergePage, describe_adapter, describe_merge
from webapp.actions.links import DAYS, LONGEST_SENTENCE, LONGEST_TITLE, MOST_DAYS, REQUESTS, TOKENS, create_link
from webapp.actions.merge_adapter import merge_adapter
from webapp.actions.write_card import LONGEST_CARD, write_card
from webapp.deps import Deps
from webapp.pages.like_rows import LikeRowsPart
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.routes.link_address import link_address, outside_address
from webapp.views import adapter_page as view
from webapp.views.markup import render
from webapp.views.model_names import short_name
from webapp.views.run_list import live

REFRESH_SECONDS = 1.5
_html = partial(gr.HTML, padding=False, apply_default_css=False)  # ours alone decides how it looks
MODES = [
    ("Onto the base as it was imported: the usual choice", MergeMode.FULL_PRECISION.value),
    ("Onto the 4-bit base, unpacked: exactly what was trained and tested", MergeMode.AS_TESTED.value),
]
STORAGES = [
    ("bf16: half the size, what most programs load", StorageDtype.BF16.value),
    ("fp32: exact", StorageDtype.FP32.value),
]
NO_CARD = "*Nothing yet. What was it made for, what is it good at, where does it fail?*"
LINK_FIELDS = ("title", "sentence", "days", "max_requests", "max_tokens")


def build(deps: Deps) -> None:
    again = gr.Button("Ask again", elem_id="adapter-ask", elem_classes="tr-hidden")
    clock = gr.Timer(REFRESH_SECONDS, active=False)
    sources = {name: _html(elem_classes="tr-hidden") for name in ("head", "facts", "below")}
    sources |= {name: _html(elem_classes="tr-hidden") for name in ("merging", "links")}
    _place("head")
    with gr.Row(elem_classes="tr-adapter-top"):
        with gr.Column(scale=6, min_width=320):
            _place("facts")
        with gr.Column(scale=5, min_width=320):
            chat = _html()
    with gr.Column(visible=False, elem_classes="tr-card tr-part tr-adapter-card") as card_part:
        card = _Card(deps)
    with gr.Column(visible=False, elem_classes="tr-card tr-part") as rows_part:
        LikeRowsPart(deps)
    with gr.Row(elem_classes="tr-adapter-middle"):
        with gr.Column(visible=False, elem_id="merge", elem_classes="tr-card tr-part", min_width=320) as merge_part:
            merge = _MergeForm()
            _place("merging")
        with gr.Column(visible=False, elem_id="share", elem_classes="tr-card tr-part", min_width=320) as share_part:
            address = _html()
            with gr.Column(visible=False, elem_classes="tr-part") as link_part:
                link = _LinkForm()
            _place("links")
    _place("below")
    moving = [*sources.values(), merge.button, clock]
    still = [chat, card.text, card.edit, card_part, merge_part, share_part, link_part, address, link.title, rows_part]

    def look(request: gr.Request) -> tuple[Any, ...]:
        return _moving(_find(deps, request), outside_address(deps, _plain(request)))

    def begin(request: gr.Request) -> tuple[Any, ...]:
        page, base_url = _find(deps, request), outside_address(deps, _plain(request))
        member = caller(request)
        return *_moving(page, base_url), *_still(page, base_url, member)

    def start_merge(mode: str, storage: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            spec = MergeSpec(
                adapter=AdapterId(asked(request, "id")), mode=MergeMode(mode), storage=StorageDtype(storage)
            )
            merge_adapter(deps, caller(request), spec)
        except Invalid as error:
            return view.problem(error.message), *look(request)
        return view.problem(None), *look(request)

    def make_link(
        title: str, sentence: str, days: float | None, requests: float | None, tokens: float | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        try:
            made = create_link(
                deps, caller(request), asked(request, "id"), title=title or "", sentence=sentence or "",
                days=_whole("days", days), max_requests=_whole("max_requests", requests),
                max_tokens=_whole("max_tokens", tokens),
            )  # fmt: skip
        except Invalid as error:
            return gr.skip(), *_beside(error), *look(request)
        url = link_address(deps, _plain(request), made.token)
        return view.made_link(url, made.seen.expires_at), *_beside(None), *look(request)

    on_load(begin, [*moving, *still])
    on(again.click, look, None, moving)
    on(clock.tick, look, None, moving)
    # In the queue: what only looks is asked again after a lost connection (live.js), what changes something never.
    on(merge.button.click, start_merge, [merge.mode, merge.storage], [merge.problem, *moving], is_long=True)
    on(link.button.click, make_link, link.fields, [link.made, *link.problems, *moving], is_long=True)


class _MergeForm:
    """Which merge is wished."""

    def __init__(self) -> None:
        _html('<h2>Merge</h2><p class="tr-hint">Adds the adapter into a copy of the base’s weights, checks every '
                "tensor, and publishes the result only if it answers like base and adapter.</p>",
                elem_classes="tr")  # fmt: skip
        self.mode = gr.Radio(MODES, value=MODES[0][1], label="Onto which weights")
        self.storage = gr.Radio(STORAGES, value=STORAGES[0][1], label="Stored as")
        self.problem = _html(elem_classes="tr-problem")
        self.button = gr.Button("Start the merge", elem_classes="tr-part-button")


class _LinkForm:
    """What a link for people without an account may do, and for how long."""

    def __init__(self) -> None:
        _html('<h3>A link for people without an account</h3><p class="tr-hint">Whoever has it may chat with this '
                "adapter, and sees nothing else of the team.</p>", elem_classes="tr")  # fmt: skip
        self.title = gr.Textbox(label="Title", placeholder="What it is called", max_length=LONGEST_TITLE * 2)
        title_problem = _html(elem_classes="tr-problem")
        self.sentence = gr.Textbox(
            label="One sentence", placeholder="What it knows, or what to ask it", max_length=LONGEST_SENTENCE * 2
        )
        sentence_problem = _html(elem_classes="tr-problem")
        with gr.Row(elem_classes="tr-link-caps"):
            with gr.Column(min_width=110, elem_classes="tr-cap"):
                self.days = gr.Number(DAYS, precision=0, label=f"Days (1 to {MOST_DAYS})", step=1)
                days_problem = _html(elem_classes="tr-problem")
            with gr.Column(min_width=110, elem_classes="tr-cap"):
                self.requests = gr.Number(REQUESTS, precision=0, label="Questions", step=1)
                requests_problem = _html(elem_classes="tr-problem")
            with gr.Column(min_width=110, elem_classes="tr-cap"):
                self.tokens = gr.Number(TOKENS, precision=0, label="Tokens", step=1)
                tokens_problem = _html(elem_classes="tr-problem")
        self.button = gr.Button("Create the link", elem_classes="tr-part-button")
        self.made = _html(elem_classes="tr-problem")
        self.fields = [self.title, self.sentence, self.days, self.requests, self.tokens]
        self.problems = [title_problem, sentence_problem, days_problem, requests_problem, tokens_problem]


class _Card:
    """What its people say about it, and its editor. Markdown of a person: sanitised, no HTML of theirs runs."""

    def __init__(self, deps: Deps) -> None:
        with gr.Row(elem_classes="tr-card-head"):
            _html("<h2>Card</h2>", elem_classes="tr")
            self.edit = gr.Button("Edit", visible=False, size="sm", elem_classes="tr-card-edit")
        self.text = gr.Markdown(sanitize_html=True, container=False, latex_delimiters=[], elem_classes="tr-card-text")
        with gr.Column(visible=False) as editor:
            box = gr.Textbox(label="Card, in Markdown", lines=8, max_lines=30, max_length=LONGEST_CARD * 2)
            problem = _html(elem_classes="tr-problem")
            with gr.Row():
                keep = gr.Button("Cancel", size="sm", elem_classes="tr-part-button")
                save = gr.Button("Save the card", size="sm", elem_classes="tr-part-button")

        def open_editor(request: gr.Request) -> tuple[Any, ...]:
            page = describe_adapter(deps, caller(request), asked(request, "id"))
            return gr.Textbox(value=page.card), gr.Column(visible=True), gr.Button(visible=False)

        def save_card(text: str, request: gr.Request) -> tuple[Any, ...]:
            try:
                kept = write_card(deps, caller(request), asked(request, "id"), text or "")
            except Invalid as error:
                return gr.skip(), view.problem(error.message), gr.skip(), gr.skip()
            return kept or NO_CARD, view.problem(None), gr.Column(visible=False), gr.Button(visible=True)

        def close_editor() -> tuple[Any, ...]:
            return view.problem(None), gr.Column(visible=False), gr.Button(visible=True)

        on(self.edit.click, open_editor, None, [box, editor, self.edit])
        on(save.click, save_card, box, [self.text, problem, editor, self.edit], is_long=True)
        on(keep.click, close_editor, None, [problem, editor, self.edit])


def _find(deps: Deps, request: gr.Request) -> AdapterPage | MergePage | None:
    """Whichever the address names; None for neither, and for another team's."""
    model_id, member = asked(request, "id"), caller(request)
    try:
        return (describe_merge if model_id.startswith("merge") else describe_adapter)(deps, member, model_id)
    except NotFound:
        return None


def _moving(page: AdapterPage | MergePage | None, base_url: str) -> tuple[Any, ...]:
    """What is asked anew while the page is open: head, facts, below, merging, links, the button, the clock."""
    if page is None:
        return *_live(head=view.gone()), gr.skip(), gr.Timer(active=False)
    if isinstance(page, MergePage):
        shown = _live(
            head=view.head(page, is_merge=True),
            facts=view.facts(page, is_merge=True),
            below=view.below(page, base_url, is_merge=True),
        )
        return *shown, gr.skip(), gr.Timer(active=False)
    is_moving = view.is_moving(page.merging)
    shown = _live(
        head=view.head(page, is_merge=False),
        facts=view.facts(page, is_merge=False),
        below=view.below(page, base_url, is_merge=False),
        merging=view.merging(page),
        links=view.links(page.links),
    )
    return *shown, gr.Button(interactive=not is_moving), gr.Timer(active=is_moving)


def _still(page: AdapterPage | MergePage | None, base_url: str, member: Member) -> tuple[Any, ...]:
    """What is shown once: chat, card, its edit button, three parts, link form, address, title, the rows' part."""
    if page is None:
        return view.problem(None), "", *(gr.skip() for _ in range(8))
    chat = view.chat(page, member.user)
    if isinstance(page, MergePage):
        return chat, "", *(gr.skip() for _ in range(8))
    return (
        chat,
        page.card or NO_CARD,
        gr.Button(visible=page.may_change),
        gr.Column(visible=True),
        gr.Column(visible=page.may_merge and page.facts.is_mergeable),
        gr.Column(visible=True),
        gr.Column(visible=page.may_share),
        view.share(f"{base_url}/adapter?id={page.id}"),
        gr.Textbox(placeholder=short_name(page.name)),
        gr.Column(visible=page.run is not None),
    )


def _live(**parts: Any) -> tuple[Any, ...]:
    return tuple(
        live(f"adapter-{name}", parts.get(name, view.problem(None)))
        for name in ("head", "facts", "below", "merging", "links")
    )


def _place(name: str) -> None:
    _html(render("runs_place.html", name=f"adapter-{name}"))


def _plain(request: gr.Request) -> Any:
    return request.request


def _whole(field: str, number: float | None) -> int:
    if number is None:
        raise Invalid("A number is needed here. Type one.", param=field)
    return int(number)


def _beside(error: Invalid | None) -> list[Any]:
    """The sentence in the slot of its field, nothing in the others."""
    param = error.facts.get("param") if error else None
    sentences: Mapping[str, str] = {str(param): error.message} if error else {}
    return [view.problem(sentences.get(field)) for field in LINK_FIELDS]


PAGE = Page(path="/adapter", title="Adapter", build=build, section="/adapters")
