"""Answers chat requests, one at a time, on the one thread that owns the models. Knows folders and tokens; no Redis.

Any thread may call `answer`; it waits its turn there, renders its prompt there, and gets its events by callback.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from tokenizers import Tokenizer

from models.catalog.virtual_tokens import tokens_of
from models.domain.adapter import AdapterManifest
from models.domain.base_model import BaseFacts, Shapes
from models.domain.chat import ChatRequest, Delta, Done, Loading, TokenEvent, TreeRef, Waiting
from models.domain.errors import AppError, Code, Invalid, Unavailable
from models.domain.merging import MergeManifest
from worker.chat.decode import Ended, speak
from worker.chat.prompts import Prompts
from worker.chat.residents import ResidentKey, Residents
from worker.data.base_folder import read_base_folder
from worker.device import device_facts, use_threads

Fetch = Callable[[TreeRef, Callable[[], None]], AbstractContextManager[Path]]
"""Brings a directory of storage to this machine for the length of a block; calls its second argument while it waits."""

Emit = Callable[[TokenEvent], object]

MOST_TOKENIZERS = 8
LOOK_SECONDS = 0.2  # a waiting request looks around this often


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One request, ready for the model."""

    request: ChatRequest
    tokenizer: Tokenizer
    base_dir: Path
    adapter_dir: Path | None
    prompt_ids: list[int]
    stop_ids: frozenset[int]
    max_tokens: int
    received: float
    """time.monotonic() when the request came"""


class Engine:
    """Made once per process. `fetch` is called on the asking thread, so a download delays nobody else."""

    def __init__(self, *, device: str, memory_bytes: int, threads: int, fetch: Fetch) -> None:
        self._fetch = fetch
        self._residents = Residents(device_facts(device), memory_bytes)
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="models", initializer=use_threads, initargs=(threads,))
        self._queue: list[Future[None]] = []
        self._lock = threading.Lock()
        self._prompts = Prompts()
        self._tokenizers: dict[str, Tokenizer] = {}
        self._closes_at: float | None = None

    def answer(self, request: ChatRequest, emit: Emit, is_unwanted: Callable[[], bool]) -> None:
        """Emit Waiting, Loading, Delta ... and Done; return when it is over. Raises AppError instead of Done.

        `is_unwanted` is asked between tokens and while waiting: True (stopped, or nobody reads) ends with Done.
        """
        received = time.monotonic()
        self._check_open()
        self._check_time(request)
        key = _key(request)
        adapter = request.model.adapter
        if not self._residents.holds(key, adapter.sha256 if adapter else None):
            emit(Loading(what=request.model.public_id))
        with ExitStack() as held:
            turn = self._prepare(request, received, held)
            with self._lock:
                self._check_open()
                future = self._owner.submit(self._serve, turn, emit, is_unwanted)
                self._queue.append(future)
            try:
                self._wait(future, request, emit, is_unwanted)
            except CancelledError:
                raise _shutting_down() from None
            finally:
                with self._lock:
                    self._queue.remove(future)

    def close(self, grace_seconds: float) -> None:
        """Refuse new and waiting requests at once; the running answer has `grace_seconds` to end by itself."""
        with self._lock:
            self._closes_at = time.monotonic() + grace_seconds
            self._owner.shutdown(wait=False, cancel_futures=True)
        self._prompts.close()

    def _prepare(self, request: ChatRequest, received: float, held: ExitStack) -> Turn:
        """Bring the folders, render the prompt and check its length: all that needs no model."""
        base, adapter = request.model.base, request.model.adapter
        base_dir = held.enter_context(self._fetch(base, self._check_open))
        adapter_dir = held.enter_context(self._fetch(adapter, self._check_open)) if adapter else None
        manifest = _manifest(base_dir, adapter_dir)
        arguments = manifest.template_arguments if manifest else {}
        stop_ids = {*_facts(base_dir).stop_token_ids, *(manifest.stop_token_ids if manifest else ())}
        prompt = self._prompts.render(base_dir, request.messages, arguments | request.template_arguments)
        context = Shapes.model_validate_json((base_dir / "shapes.json").read_text()).context_length
        return Turn(
            request=request, tokenizer=self._tokenizer(base, base_dir), base_dir=base_dir, adapter_dir=adapter_dir,
            prompt_ids=prompt.ids, stop_ids=frozenset(stop_ids | set(prompt.stop_ids)), received=received,
            max_tokens=_room(len(prompt.ids), context - _in_front(manifest), request.sampling.max_tokens),
        )  # fmt: skip

    def _tokenizer(self, base: TreeRef, base_dir: Path) -> Tokenizer:
        """One per base, by content; a few stay. Decoding runs no template, so it may happen here."""
        found = self._tokenizers.get(base.sha256)
        if found is None:
            found = read_base_folder(base_dir).tokenizer
            if len(self._tokenizers) >= MOST_TOKENIZERS:
                self._tokenizers.clear()
            self._tokenizers[base.sha256] = found
        return found

    def _wait(
        self,
        future: Future[None],
        request: ChatRequest,
        emit: Emit,
        is_unwanted: Callable[[], bool],
    ) -> None:
        """Until the turn is over; while it is not yet begun, tell its place and look whether it is still wanted."""
        told = 0
        while not (future.running() or future.done()):
            with self._lock:
                ahead = self._queue.index(future)
            if ahead and ahead != told and not future.running():
                emit(Waiting(ahead=ahead))
                told = ahead
            if datetime.now(UTC) >= request.deadline_at and future.cancel():
                raise _too_late()
            if is_unwanted() and future.cancel():
                emit(_done("stopped", 0, 0, 0.0, 0.0))
                return
            wait([future], LOOK_SECONDS)
        future.result()

    def _serve(self, turn: Turn, emit: Emit, is_unwanted: Callable[[], bool]) -> None:
        """On the models' thread: make the model ready, speak, say how it went."""
        request, first_token_at = turn.request, None

        def say(text: str) -> None:
            nonlocal first_token_at
            first_token_at = first_token_at or time.monotonic()
            emit(Delta(text=text))

        def should_stop() -> bool:
            self._check_time(request)
            return is_unwanted()

        if should_stop():
            emit(_done("stopped", len(turn.prompt_ids), 0, 0.0, 0.0))
            return
        adapter = request.model.adapter
        try:
            model = self._residents.ready(
                _key(request), turn.base_dir, adapter.sha256 if adapter else None, turn.adapter_dir
            )
            begun = self._residents.begun(_key(request), adapter.sha256 if adapter else None)
            began = time.monotonic()
            ended: Ended = speak(
                model, turn.tokenizer, turn.prompt_ids,
                request.sampling.model_copy(update={"max_tokens": turn.max_tokens}), turn.stop_ids, say, should_stop,
                begun,
            )  # fmt: skip
        except torch.OutOfMemoryError:
            self._residents.clear()
            raise _out_of_memory() from None
        now = time.monotonic()
        emit(
            _done(
                ended.reason, len(turn.prompt_ids), ended.tokens,
                (first_token_at or now) - turn.received, ended.tokens / max(now - began, 1e-9),
            )
        )  # fmt: skip

    def _check_time(self, request: ChatRequest) -> None:
        if self._closes_at is not None and time.monotonic() >= self._closes_at:
            raise _shutting_down()
        if datetime.now(UTC) >= request.deadline_at:
            raise _too_late()

    def _check_open(self) -> None:
        if self._closes_at is not None:
            raise _shutting_down()


def _key(request: ChatRequest) -> ResidentKey:
    return ResidentKey(base=request.model.base.sha256, quantisation=request.model.quantisation)


def _facts(base_dir: Path) -> BaseFacts:
    return BaseFacts.model_validate_json((base_dir / "facts.json").read_text())


def _manifest(base_dir: Path, adapter_dir: Path | None) -> AdapterManifest | MergeManifest | None:
    """How what is served was trained to be asked: an adapter's or a merge's word; a plain base has none."""
    if adapter_dir is None:
        path = base_dir / "manifest.json"
        return MergeManifest.model_validate_json(path.read_text()) if path.is_file() else None
    path = adapter_dir / "manifest.json"
    if not path.is_file():
        raise AppError(
            "this adapter has no manifest, so its base is unknown; it is not served. Train it again.",
            code=Code.ADAPTER_REFUSED,
        )
    return AdapterManifest.model_validate_json(path.read_text())


def _in_front(manifest: AdapterManifest | MergeManifest | None) -> int:
    """Virtual tokens that the adapter puts before every prompt."""
    if not isinstance(manifest, AdapterManifest):
        return 0
    return tokens_of(manifest.method, manifest.method_options)


def _room(prompt_tokens: int, context_tokens: int, wanted_tokens: int) -> int:
    """How long the answer may be. At least one token must fit behind the prompt."""
    left = context_tokens - prompt_tokens
    if left < 1:
        raise Invalid(
            f"the messages have {prompt_tokens} tokens and this model reads {context_tokens} at most, answer included. "
            "Shorten them or drop older ones.",
            code=Code.CONTEXT_TOO_LONG,
            param="messages",
            prompt_tokens=prompt_tokens,
            context_tokens=context_tokens,
        )
    return min(left, wanted_tokens)


def _done(reason: str, prompt_tokens: int, tokens: int, first_token_seconds: float, tokens_per_second: float) -> Done:
    return Done.model_validate(
        {
            "finish_reason": reason, "prompt_tokens": prompt_tokens, "completion_tokens": tokens,
            "first_token_seconds": first_token_seconds, "tokens_per_second": tokens_per_second,
        }
    )  # fmt: skip


def _shutting_down() -> Unavailable:
    return Unavailable("The chat worker is being restarted; this answer was not finished. Ask again in a moment.")


def _too_late() -> Unavailable:
    return Unavailable(
        "No answer in the time that was given: the chat worker is busy. Ask again in a moment, or ask for less.",
        code=Code.TIMED_OUT,
    )


def _out_of_memory() -> AppError:
    return AppError(
        "The chat worker's device has no memory left for this answer. Shorten the messages, or ask an administrator "
        "to lower TUNEROOM_CHAT_MEMORY_BYTES so that answers have room beside the models.",
        code=Code.OUT_OF_MEMORY,
    )
