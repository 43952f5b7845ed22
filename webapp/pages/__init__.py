"""The pages, one file each, found by import. They hold components and wiring only; verbs live in `webapp.actions`."""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import gradio as gr
from gradio.components import Navbar
from gradio.routes import App

from webapp.deps import Deps
from webapp.pages.frame import top_bar
from webapp.pages.page import Page

NOT_PAGES = {"frame", "page", "wiring"}


def all_pages() -> tuple[Page, ...]:
    """In the order of the top bar; pages outside it last, by address."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name not in NOT_PAGES]
    pages: list[Page] = [
        module.PAGE for name in names if hasattr(module := import_module(f"{__name__}.{name}"), "PAGE")
    ]
    return tuple(sorted(pages, key=lambda page: (page.place is None, page.place or 0, page.path)))


def build_pages(deps: Deps) -> gr.Blocks:
    """All pages as one Gradio application. Its own root is never served: "/" is a route of ours."""
    pages = all_pages()
    with _nothing_in_between():
        with gr.Blocks(title="Tuneroom", analytics_enabled=False, fill_width=False) as demo:
            Navbar(visible=False)
        for page in pages:
            with demo.route(page.title, page.path):
                Navbar(visible=False)
                top_bar(deps, demo, page, pages)
                page.build(deps)
    demo.config = demo.get_config_file()
    demo.app = App.create_app(demo, mcp_server=False)
    return demo


@contextmanager
def _nothing_in_between() -> Iterator[None]:
    """At the end of each page Gradio describes all pages so far and makes a web application of them, to drop both.

    The last ones alone are of use; the others took three quarters of the time that the pages take at each start.
    """
    create, describe = App.create_app, gr.Blocks.get_config_file
    App.create_app = staticmethod(lambda *_args, **_options: None)  # type: ignore[method-assign,assignment]
    gr.Blocks.get_config_file = lambda *_args, **_options: {}  # type: ignore[method-assign,assignment,return-value]
    try:
        yield
    finally:
        App.create_app = staticmethod(create)  # type: ignore[method-assign]
        gr.Blocks.get_config_file = describe  # type: ignore[method-assign]
