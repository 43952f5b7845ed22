"""Brings the files of one split of a hub dataset into in/source/ of its job directory, numbered in order.

Runs on the supervisor's side: the child has no network and never sees the team's token. Knows no SQL and reads no row.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.domain.data_jobs import FetchDataSpec
from models.domain.errors import Code, Invalid
from models.domain.progress import Progressed
from models.infra.settings import Settings
from worker.cache import link_or_copy
from worker.jobdir import JobDir

SECONDS_BETWEEN_REPORTS = 1.0

Watch = Callable[[], None]


def bring_dataset(
    spec: FetchDataSpec,
    jobdir: JobDir,
    settings: Settings,
    token: Callable[[], str | None],
    watch: Watch,
    endpoint: str | None = None,
) -> dict[str, Any]:
    """Fill in/source/0, 1 ... and return the facts of the order: the files' names, the commit, the licence.

    Raises Invalid in words; `watch` raises to stop, and a download goes on from there next time.
    """
    if settings.hub_offline:
        raise Invalid(
            "downloads from the hub are switched off here (TUNEROOM_HUB_OFFLINE). Upload the files instead.",
            code=Code.INVALID_REQUEST,
        )
    from worker.hub_dataset import download_split  # loads huggingface_hub: only where a download is wanted

    said_at = 0.0

    def report(done: int, total: int) -> None:
        nonlocal said_at
        watch()
        if time.monotonic() - said_at >= SECONDS_BETWEEN_REPORTS or done == total:
            said_at = time.monotonic()
            jobdir.say(Progressed(done=done, total=total, unit="bytes"))

    folder = _download_dir(spec, settings)
    fetched = download_split(spec, folder, token(), report, settings.max_upload_bytes, endpoint)
    source = jobdir.inputs / "source"
    source.mkdir(parents=True, exist_ok=True)
    for place, path in enumerate(fetched.files):
        link_or_copy(folder / path, source / str(place))
    return {"files": list(fetched.files), "revision": fetched.revision, "licence": fetched.licence}


def forget_dataset(spec: FetchDataSpec, settings: Settings) -> None:
    """The job has ended: its download is not needed any more."""
    shutil.rmtree(_download_dir(spec, settings), ignore_errors=True)


def _download_dir(spec: FetchDataSpec, settings: Settings) -> Path:
    """One per dataset, revision and split, kept between attempts."""
    told = f"dataset:{spec.reference}@{spec.revision}:{spec.split}"
    return settings.cache_dir / "downloads" / hashlib.sha256(told.encode()).hexdigest()
