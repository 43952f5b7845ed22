"""Brings the bytes of a base model into in/source/ of its job directory: from a folder, a GGUF file or the hub.

Runs on the supervisor's side: the child has no network and never sees the team's token. Knows no SQL.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from models.catalog.sources import source_named
from models.catalog.sources.base import Parsed
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Code, Invalid
from models.domain.progress import Progressed
from models.infra.settings import Settings
from worker.cache import link_or_copy, link_tree
from worker.jobdir import JobDir

SECONDS_BETWEEN_REPORTS = 1.0
COPIED = (".safetensors", ".json", ".txt", ".jinja", ".model")

Watch = Callable[[], None]


def bring_source(
    spec: AddBaseSpec, jobdir: JobDir, settings: Settings, token: Callable[[], str | None], watch: Watch
) -> dict[str, Any]:
    """Fill in/source/ and return the facts the child cannot know: source, revision, licence.

    Raises Invalid(invalid_base) in words; `watch` raises to stop, and a download goes on from there next time.
    """
    parsed = source_named(spec.source).parse(spec.reference)
    destination = jobdir.inputs / "source"
    destination.mkdir(parents=True, exist_ok=True)
    if spec.source == "hub":
        return _from_hub(parsed, destination, jobdir, settings, token, watch)
    path = Path(unquote(urlsplit(parsed.url).path)).resolve()
    if path.is_file():
        link_or_copy(path, destination / path.name)
    elif path.is_dir():
        _link_folder(path, destination, watch)
    else:
        _refuse("nothing lies at that path on the worker's machine; a folder or a .gguf file is needed. Correct it.")
    return {"source": spec.source, "revision": None}


def forget_download(spec: AddBaseSpec, settings: Settings) -> None:
    """The import has ended: its download is not needed any more."""
    if spec.source == "hub":
        shutil.rmtree(_download_dir(source_named("hub").parse(spec.reference), settings), ignore_errors=True)


def _link_folder(source: Path, destination: Path, watch: Watch) -> None:
    """Only data files; names of pickles travel as empty files, so that the child can say what it found."""
    for path in sorted(source.iterdir()):
        watch()
        if path.is_file() and (path.suffix in COPIED or path.name.startswith("tokenizer")):
            link_or_copy(path.resolve(), destination / path.name)
        elif path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"):
            (destination / path.name).touch()


def _from_hub(
    parsed: Parsed,
    destination: Path,
    jobdir: JobDir,
    settings: Settings,
    token: Callable[[], str | None],
    watch: Watch,
) -> dict[str, Any]:
    if settings.hub_offline:
        _refuse("downloads from the model hub are switched off here (TUNEROOM_HUB_OFFLINE). Use a folder or a file.")
    from worker.hub import download  # loads huggingface_hub: only where a download is wanted

    said_at = 0.0

    def report(done: int, total: int) -> None:
        nonlocal said_at
        watch()
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS or done == total:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=done, total=total, unit="bytes"))

    folder = _download_dir(parsed, settings)
    fetched = download(parsed, folder, token(), report)
    link_tree(folder, destination)
    return {"source": "hub", "revision": fetched.revision, "licence": fetched.licence}


def _download_dir(parsed: Parsed, settings: Settings) -> Path:
    """One per model and revision, kept between attempts."""
    name = hashlib.sha256(f"{parsed.url}@{parsed.revision}".encode()).hexdigest()
    return settings.cache_dir / "downloads" / name


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_BASE)
