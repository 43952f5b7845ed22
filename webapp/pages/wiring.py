"""How every page wires its events: never an API, the caller from the guard, errors as sentences.

A handler takes `request: gr.Request` where it needs the caller. What it raises as AppError is shown as its sentence;
anything else becomes an error id for the person and a traceback for the log.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
import structlog
from gradio.context import Context

from models.domain.access import Member
from models.domain.errors import AppError
from models.domain.ids import new_id
from webapp import words

log = structlog.get_logger()

CONCURRENCY = 40  # Gradio's default of 1 would let one person's wait stop everybody


def caller(request: gr.Request) -> Member:
    """The signed-in person, as the guard found them for this very request."""
    principal = request.request.state.principal  # type: ignore[union-attr]
    assert isinstance(principal, Member)  # the guard lets nobody else reach the view's routes
    return principal


def asked(request: gr.Request, name: str, default: str = "") -> str:
    """A value of the page's own address, as `id` in /run?id=..."""
    return str(request.query_params.get(name, default))[:300]


def on_load(
    fn: Callable[..., Any],
    outputs: Sequence[Any] | Any | None = None,
    *,
    inputs: Sequence[Any] | Any | None = None,
    **options: Any,
) -> Any:
    """Wire the opening of the page that is being built: `on` for its load event."""
    demo = Context.root_block
    assert demo is not None  # pages are built inside the application
    return on(demo.load, fn, inputs, outputs, **options)


def on(
    trigger: Any,
    fn: Callable[..., Any] | None,
    inputs: Sequence[Any] | Any | None = None,
    outputs: Sequence[Any] | Any | None = None,
    *,
    is_long: bool = False,
    **options: Any,
) -> Any:
    """Wire `trigger` (as `button.click`, `demo.load`, `timer.tick`) to `fn`.

    Short handlers answer in their own request; `is_long` ones (generators, waits over a second) go through Gradio's
    queue. `options` are Gradio's (`js`, `cancels`, `show_progress` ...).
    """
    options.setdefault("show_progress", "hidden")
    return trigger(
        _speaking(fn) if fn is not None else None,
        inputs,
        outputs,
        queue=is_long,
        api_visibility="private",
        concurrency_limit=CONCURRENCY,
        **options,
    )


def _speaking(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, with its errors turned into what a person may read. Keeps the kind: plain, async, generator."""
    if inspect.isasyncgenfunction(fn):

        @functools.wraps(fn)
        async def speaking_stream(*args: Any, **kwargs: Any) -> Any:
            with _in_words():
                async for item in fn(*args, **kwargs):
                    yield item

        return speaking_stream
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def speaking_later(*args: Any, **kwargs: Any) -> Any:
            with _in_words():
                return await fn(*args, **kwargs)

        return speaking_later
    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def speaking_steps(*args: Any, **kwargs: Any) -> Any:
            with _in_words():
                yield from fn(*args, **kwargs)

        return speaking_steps

    @functools.wraps(fn)
    def speaking(*args: Any, **kwargs: Any) -> Any:
        with _in_words():
            return fn(*args, **kwargs)

    return speaking


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except AppError as error:
        raise gr.Error(error.message, duration=10, title="That did not work", print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        error_id = new_id("err")
        log.error("unexpected error in a page", error_id=error_id, exc_info=error)
        raise gr.Error(words.unexpected(error_id), duration=None, title="Error", print_exception=False) from None
