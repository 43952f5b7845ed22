"""Mounts the pages below the app, behind the view's wall, with every door of Gradio's that we do not use shut."""

import os

from fastapi import FastAPI
from starlette.routing import Mount

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read while gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from webapp.deps import Deps
from webapp.pages import all_pages, build_pages
from webapp.routes.view_wall import ViewWall
from webapp.theme import HEAD, theme


def mount_pages(app: FastAPI, deps: Deps) -> None:
    """The last mount: whatever no route of ours takes is the view's, or does not exist."""
    demo = build_pages(deps)
    demo.has_launched = True  # only then does Gradio check the files that inputs name
    assert demo.has_launched
    view = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        view,
        demo,
        path="",
        theme=theme(),
        head=HEAD,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        show_error=False,
        allowed_paths=[],
        blocked_paths=[str(deps.settings.data_dir)],
        max_file_size=1,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    app.router.routes.append(Mount("", ViewWall(view, frozenset(page.path for page in all_pages()))))
