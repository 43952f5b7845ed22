"""Bases that were quantised once, kept by content for the trainings to come, which then need not pack them again.

A child packs and leaves what it packed in its directory; its supervisor, who is here, keeps that where the training
succeeded and lays it for the next one. Kept for each team by itself: a process that worked on one team's data leaves
nothing behind that another team's model is made of. Loads no torch.
"""

import hashlib
import shutil
from importlib.metadata import version

import structlog

from models.domain.training import Quantisation, TrainingSpec
from models.infra.settings import Settings
from worker.cache import Cache, link_tree
from worker.jobdir import PACKED, JobDir

DTYPES = ("fp32", "bf16")  # what the layers that stay as they are were loaded in
FORMAT = 1
LIBRARIES = ("bitsandbytes", "transformers")
BYTES_PER_PARAMETER = 2  # at most half of it in 4 or 8 bits, and the embeddings in up to 32
SHARE_OF_CACHE = 4

log = structlog.get_logger()


def lay_packed(cache: Cache, scope: str, quantisation: Quantisation, tree_sha256: str, jobdir: JobDir) -> None:
    """Fill in/packed/ with what earlier trainings of this scope have packed of this base."""
    for dtype, key in _keys(scope, quantisation, tree_sha256).items():
        with cache.using_kept(key) as path:
            if path is not None:
                link_tree(path, jobdir.inputs / PACKED / dtype)


def may_keep(settings: Settings, parameters: int) -> bool:
    """Whether a packed base of so many weights is small beside the cache and the free disk."""
    needed_bytes = parameters * BYTES_PER_PARAMETER
    free_bytes = shutil.disk_usage(settings.jobs_dir).free
    return needed_bytes * SHARE_OF_CACHE <= min(settings.cache_bytes, free_bytes)


def keep_packed(cache: Cache, scope: str, jobdir: JobDir) -> None:
    """What the child of a training that succeeded has packed. A cache that cannot be written costs time alone."""
    if not jobdir.packed.is_dir():
        return
    keys = _ordered(scope, jobdir)
    try:
        for path in jobdir.packed.iterdir():
            if path.name in keys:
                cache.keep(keys[path.name], path)
    except OSError as error:
        log.warning("packed base not kept", job=jobdir.order().job, why=str(error))


def forget_packed(cache: Cache, scope: str, jobdir: JobDir) -> None:
    """Its adapter was refused: perhaps because what was kept of its base is not what it was."""
    if (jobdir.inputs / PACKED).is_dir():
        for key in _ordered(scope, jobdir).values():
            cache.forget(key)


def _ordered(scope: str, jobdir: JobDir) -> dict[str, str]:
    """The keys of what this training was ordered to use."""
    order = jobdir.order()
    return _keys(scope, TrainingSpec.model_validate(order.payload).quantisation, order.facts["base_tree_sha256"])


def _keys(scope: str, quantisation: Quantisation, tree_sha256: str) -> dict[str, str]:
    """The name of each dtype's copy in the cache; none for a base that is not quantised."""
    if quantisation is Quantisation.NONE:
        return {}
    about = [str(FORMAT), *(f"{name} {version(name)}" for name in LIBRARIES), scope, tree_sha256, quantisation]
    return {dtype: hashlib.sha256("\0".join([*about, dtype]).encode()).hexdigest() for dtype in DTYPES}
