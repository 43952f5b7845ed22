"""A base model by its reference as a canonical folder: as it lies there, from the cache, or imported now. No torch.

Imports are the same job as on a server, in a child of its own; what it made is kept by the content it was made from.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.catalog.sources import source_named
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Code, Invalid
from models.domain.ids import Sha256
from models.domain.job import JobKind
from models.infra.settings import Settings
from models.infra.storage import Listing, TreeFile
from worker.cache import link_or_copy, link_tree
from worker.jobdir import JobDir, Order, files_below, sha256_of, write_atomically
from worker.sources import bring_source

CANONICAL = ("config.json", "tokenizer.json", "shapes.json", "facts.json")
LIBRARIES = ("tuneroom", "transformers", "gguf")
HUB_TOKEN = "HF_TOKEN"

Watch = Callable[[], None]
RunChild = Callable[[JobDir], None]
"""Runs the import that was laid out there; raises what it failed with."""


def lay_base(
    wish: AddBaseSpec, folder: Path, importing: JobDir, cache: Path, threads: int, *, hub_offline: bool, watch: Watch,
    run_child: RunChild,
) -> Sha256:  # fmt: skip
    """Fill `folder` with the canonical base and return its listing's sha256, as a server's storage would name it.

    Raises Invalid with code `invalid_base` in words. `importing` is a directory for the import, where one is needed.
    """
    source = Path(wish.reference)
    if wish.source == "local" and all((source / name).is_file() for name in CANONICAL):
        for path in sorted(source.iterdir()):
            if path.is_file():
                link_or_copy(path.resolve(), folder / path.name)
        return tree_sha256(folder)
    kept = cache / "bases" / _key(wish, watch)
    if (found := _kept(kept, folder)) is not None:
        return found
    settings = Settings(data_dir=cache, hub_offline=hub_offline)
    facts = bring_source(wish, importing, settings, lambda: os.environ.get(HUB_TOKEN), watch)
    importing.lay_out(
        Order(
            job="import", fence=1, kind=JobKind.ADD_BASE, payload=wish.model_dump(mode="json"), facts=facts,
            threads=threads,
        )
    )  # fmt: skip
    run_child(importing)
    link_tree(importing.out, folder)
    made = tree_sha256(folder)
    _keep(importing.out, kept, made)
    shutil.rmtree(importing.root, ignore_errors=True)
    return made


def tree_sha256(folder: Path) -> Sha256:
    """Of its listing, as `models.infra.storage` names a tree."""
    files = tuple(
        TreeFile(path=path.relative_to(folder).as_posix(), sha256=Sha256(sha256_of(path)), size=path.stat().st_size)
        for path in files_below(folder)
    )
    return Sha256(hashlib.sha256(Listing(files=files).canonical()).hexdigest())


def _key(wish: AddBaseSpec, watch: Watch) -> str:
    """What the import is made from: the content of files, or the hub's model and revision; and what makes it."""
    told: list[Any] = [wish.source, *map(_version, LIBRARIES)]
    if wish.source == "hub":
        parsed = source_named(wish.source).parse(wish.reference)
        told += [parsed.url, parsed.revision]
    else:
        path = Path(wish.reference)
        if not path.exists():
            raise Invalid(f"{path} is neither a folder nor a .gguf file. Correct the base.", code=Code.INVALID_BASE)
        for file in [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file()):
            watch()
            told += [file.name, sha256_of(file)]
    return hashlib.sha256("\n".join(map(str, told)).encode()).hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "unknown"


def _kept(kept: Path, folder: Path) -> Sha256 | None:
    """The import of an earlier training, if its bytes are still those that were made."""
    note = kept.with_suffix(".sha256")
    if not note.is_file() or not kept.is_dir():
        return None
    link_tree(kept, folder)
    found = tree_sha256(folder)
    if found == note.read_text().strip():
        return found
    shutil.rmtree(folder)
    shutil.rmtree(kept, ignore_errors=True)
    return None


def _keep(made: Path, kept: Path, tree: Sha256) -> None:
    """For the next training. A cache that cannot be written costs time, never the training."""
    try:
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        link_tree(made, kept)
        write_atomically(kept.with_suffix(".sha256"), tree)
    except OSError:
        shutil.rmtree(kept, ignore_errors=True)
