"""The pages, one file each, found by import. They hold components and wiring only; verbs live in `webapp.actions`."""

import pkgutil
from importlib import import_module

import gradio as gr
from gradio.components import Navbar

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
    with gr.Blocks(title="Tuneroom", analytics_enabled=False, fill_width=False) as demo:
        Navbar(visible=False)
    for page in pages:
        with demo.route(page.title, page.path):
            Navbar(visible=False)
            top_bar(deps, demo, page, pages)
            page.build(deps)
    return demo
