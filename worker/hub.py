"""Downloads the data files of one model of the hub: pinned to a commit, resumable, verified. Knows no job and no SQL.

Only files that cannot run: weights in safetensors, JSON, tokenizer, text and templates. The token goes to the hub's
own host and nowhere else. huggingface_hub answers what there is; bytes come by ranges, because its own downloads
(2.4) start a file again from nothing after every interruption.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

import httpx

from models.catalog.sources.base import Parsed
from models.catalog.sources.hub import HOST
from models.domain.errors import Code, Invalid, Unavailable

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer*")
NEVER = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.py", "*.msgpack", "*.h5", "*.onnx", "*.gguf", "*.md")
MOST_BYTES_OF_OTHERS = 100 * 10**6  # a vocabulary is large, a text file beside weights is not larger
CHUNK_BYTES = 1 << 20
TRIES = 5
TIMEOUT = httpx.Timeout(30, connect=10)

Report = Callable[[int, int], None]
"""(bytes done, bytes in all); may raise to stop. What is there stays for the next attempt."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    path: str
    size: int
    sha256: str | None  # the hub knows it for large files only


@dataclass(frozen=True, kw_only=True)
class Download:
    """What was fetched: the commit it is pinned to, and the licence the page names."""

    revision: str
    licence: str | None


def download(parsed: Parsed, into: Path, token: str | None, report: Report, endpoint: str | None = None) -> Download:
    """Bring the wanted files below `into`, going on where an earlier attempt stopped.

    Raises Invalid(invalid_base) where the model, the revision or the permission is missing, or it holds no
    safetensors; Unavailable where the hub does not answer.
    """
    from httpx2 import HTTPError  # huggingface_hub's own HTTP library since 2.0, and the root of its other errors
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    repo = parsed.url.removeprefix(HOST)
    try:
        found = HfApi(endpoint=endpoint, token=token or False).model_info(
            repo, revision=parsed.revision, files_metadata=True
        )
    except GatedRepoError:
        _refuse(f"{repo} is gated: its page on the hub asks for an agreement. Agree there, then save a token here.")
    except RevisionNotFoundError:
        _refuse(f"{repo} has no revision {parsed.revision}. Look at its page for branches, tags and commits.")
    except RepositoryNotFoundError:
        _refuse(f"the hub has no model {repo}, or it is private. Correct the name, or save a token that may read it.")
    except (HTTPError, OSError) as error:
        raise unavailable() from error
    assert found.sha is not None  # the hub always names the commit
    files = [remote(sibling) for sibling in found.siblings or [] if is_wanted(sibling.rfilename)]
    _check(repo, files, [sibling.rfilename for sibling in found.siblings or []])
    total, done = sum(file.size for file in files), 0
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=True) as client:
        for file in files:
            url = hf_hub_url(repo, file.path, revision=found.sha, endpoint=endpoint)
            for size in fetch(client, url, file, into / file.path):
                report(done + size, total)
            done += file.size
    licence = found.card_data.get("license") if found.card_data else None
    return Download(revision=found.sha, licence=licence if isinstance(licence, str) else None)


def is_wanted(path: str) -> bool:
    """Data files at the top, and templates one folder down."""
    name = path.rpartition("/")[2]
    if "/" in path and not fnmatch(path, "additional_chat_templates/*.jinja"):
        return False
    return any(fnmatch(name, wanted) for wanted in WANTED) and not any(fnmatch(name, never) for never in NEVER)


def remote(sibling: object) -> RemoteFile:
    """A file as huggingface_hub lists it."""
    large = getattr(sibling, "lfs", None)
    return RemoteFile(
        path=sibling.rfilename,  # type: ignore[attr-defined]
        size=sibling.size or 0,  # type: ignore[attr-defined]
        sha256=large.sha256 if large else None,
    )


def _check(repo: str, files: list[RemoteFile], names: list[str]) -> None:
    if not any(file.path.endswith(".safetensors") for file in files):
        pickle = next((name for name in names if name.endswith((".bin", ".pt", ".pth"))), None)
        held = f"its weights are in {pickle}, a pickle that can run code when opened" if pickle else "it has no weights"
        _refuse(f"{repo} cannot be used: {held}; safetensors files are needed. Choose another model or revision.")
    for file in files:
        if not file.path.endswith(".safetensors") and file.size > MOST_BYTES_OF_OTHERS:
            _refuse(f"{repo} cannot be used: {file.path} has {file.size:,} bytes. Choose another model.")


def fetch(client: httpx.Client, url: str, file: RemoteFile, final: Path) -> Iterator[int]:
    """Yield the bytes present, after each chunk. Dropped connections are taken up again where they broke."""
    if final.exists() and final.stat().st_size == file.size:
        yield file.size
        return
    part = final.with_name(final.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            yield from _stream(client, url, part, before, file.size)
            break
        except httpx.TransportError as error:
            gained = (part.stat().st_size if part.exists() else 0) > before
            failures = 0 if gained else failures + 1
            if failures >= TRIES:
                raise unavailable() from error
    _verify(part, file)
    part.replace(final)


def _stream(client: httpx.Client, url: str, part: Path, have: int, size: int) -> Iterator[int]:
    if have >= size > 0:
        return
    with client.stream("GET", url, headers={"range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status_code in (401, 403):
            _refuse("the hub refuses this file: it is gated or private. Save a token that may read it.")
        if answer.status_code >= 400:
            raise unavailable()
        goes_on = have and answer.status_code == httpx.codes.PARTIAL_CONTENT
        with part.open("ab" if goes_on else "wb") as out:
            done = have if goes_on else 0
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                out.write(chunk)
                done += len(chunk)
                if 0 < size < done:  # more than it said: not the file that was chosen
                    break
                yield done


def _verify(part: Path, file: RemoteFile) -> None:
    with part.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if part.stat().st_size != file.size or (file.sha256 is not None and sha256 != file.sha256):
        part.unlink()
        raise Unavailable(f"{file.path} arrived damaged from the hub. Start the import again.")


def unavailable() -> Unavailable:
    return Unavailable("The hub does not answer. Start the import again later; what is here is kept.")


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_BASE)
