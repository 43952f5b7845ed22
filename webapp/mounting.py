"""Mounts the pages below the app, behind the view's wall, with every door of Gradio's that we do not use shut."""

import os
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from jinja2 import ChoiceLoader, DictLoader
from starlette.routing import Mount
from starlette.types import Lifespan

from models.infra.quiet import QUIET
from webapp.without_stubs import without_stubs

os.environ.update(QUIET)  # read while gradio is imported

with without_stubs():
    import gradio as gr
from gradio.route_utils import BUILD_PATH_LIB
from gradio.routes import App, templates
from gradio.state_holder import SessionState, StateHolder

from webapp.deps import Deps
from webapp.lighter_script import lighter_scripts
from webapp.pages import all_pages, build_pages
from webapp.routes.view_wall import ViewWall
from webapp.theme import EARLY_HEAD, HEAD, theme

QUEUE_LOOK_SECONDS, PROGRESS_LOOK_SECONDS = 0.02, 0.1  # Gradio's own on Windows are 0.05 and 0.1
MOST_SESSIONS = 1000  # open tabs that Gradio remembers something of, least recently used first to go; 15 kB each


def mount_pages(app: FastAPI, deps: Deps) -> None:
    """All pages of `webapp.pages`."""
    mount(app, build_pages(deps), {page.path for page in all_pages()}, deps.settings.data_dir)


def mount(app: FastAPI, demo: gr.Blocks, pages: Collection[str], data_dir: Path) -> None:
    """The last mount: whatever no route of ours takes is the view's, or does not exist."""
    _clean_index()
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
        blocked_paths=[str(data_dir)],
        max_file_size=1,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    _remember_little(view, demo)
    view.router.routes[:0] = lighter_scripts(Path(BUILD_PATH_LIB))
    # It looks 1,100 times a second into an empty queue: 4 % of a core, all day. A long event waits 10 ms more.
    demo._queue.sleep_when_free, demo._queue.progress_update_sleep_when_free = QUEUE_LOOK_SECONDS, PROGRESS_LOOK_SECONDS
    waiting = demo._queue.pending_event_ids_session  # by session hash; Gradio has no public way to ask
    wall = ViewWall(view, pages, lambda event, session: event in waiting.get(session, ()))
    app.router.routes.append(Mount("", wall))
    app.router.lifespan_context = _both(app.router.lifespan_context, view)


def _both(ours: Lifespan[FastAPI], view: FastAPI) -> Lifespan[FastAPI]:
    """A mounted app's lifespan is not run by itself, and Gradio's queue starts in it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with ours(app), view.router.lifespan_context(view):
            yield

    return lifespan


class _Session(SessionState):
    """What Gradio remembers of a tab, without the settings and last value of every component.

    It keeps those for deep links, a door that is shut here: 0.5 MB and 20 ms for each page that anyone opens, of
    which it would hold 10,000. Twenty people made the process grow by 30 MB a minute.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks=()))  # type: ignore[arg-type]

    def _update_config(self, key: int) -> None:
        return

    def _update_value_in_config(self, key: int, value: Any) -> None:
        return


class _Sessions(StateHolder):
    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = _Session(self.blocks)
        return super().__getitem__(session_id)


def _remember_little(view: FastAPI, demo: gr.Blocks) -> None:
    (gradio,) = [route.app for route in view.routes if isinstance(route, Mount) and isinstance(route.app, App)]
    demo.state_session_capacity = MOST_SESSIONS
    gradio.state_holder = _Sessions()
    gradio.state_holder.set_blocks(demo)


def _clean_index() -> None:
    """Gradio's page without what it says of other hosts, and without its frame script and manifest: we use neither."""
    source, name = templates.env.loader, "frontend/index.html"
    assert source is not None
    text = source.get_source(templates.env, name)[0]
    if EARLY_HEAD in text:
        return  # this process has mounted before
    text = re.sub(r'<meta\s+(property="og:|name="twitter:)[^>]*>\s*', "", text)
    text = re.sub(r'<link rel="manifest"[^>]*>\s*', "", text)
    text = re.sub(r"<script>(?:(?!</script>).)*iframeResizer(?:(?!</script>).)*</script>\s*", "", text, flags=re.S)
    text = text.replace("<head>", f"<head>{EARLY_HEAD}", 1)
    templates.env.loader = ChoiceLoader([DictLoader({name: text}), source])
    templates.env.cache = None
