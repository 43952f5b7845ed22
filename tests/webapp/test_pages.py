"""The pages as a set: found by import, each with its own address, and a new file is a new page (CONTRIBUTING)."""

import webapp.pages
from webapp.pages import all_pages, build_pages

RECIPE = '''
"""A page for this test."""

import gradio as gr

from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import on_load
from webapp.views.markup import chip


def build(deps: Deps) -> None:
    slot = gr.HTML()
    on_load(lambda: chip("running"), slot)


PAGE = Page(path="/hello", title="Hello", build=build, place=99)
'''


def test_every_page_has_an_address_and_a_title_of_its_own():
    pages = all_pages()
    assert len({page.path for page in pages}) == len({page.title for page in pages}) == len(pages)
    assert all(page.path.startswith("/") and not page.path.endswith("/") for page in pages)
    sections = {page.section for page in pages if page.section}
    assert sections <= {page.path for page in pages if page.place is not None}


def test_a_new_file_is_a_new_page(tmp_path, monkeypatch, quick_house):
    (tmp_path / "hello.py").write_text(RECIPE)
    monkeypatch.setattr(webapp.pages, "__path__", [*webapp.pages.__path__, str(tmp_path)])
    assert "/hello" in {page.path for page in all_pages()}
    config = build_pages(quick_house.deps).get_config_file()
    assert [title for path, title, *_ in config["pages"] if path == "hello"] == ["Hello"]
