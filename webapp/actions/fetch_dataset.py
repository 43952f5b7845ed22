"""Queues the download of a dataset from the hub. Judges words only; what the hub has, the worker finds out."""

import re

from models.db.store.team import TeamStore
from models.domain.access import Kind, Principal, Verb
from models.domain.data_jobs import FetchDataSpec
from models.domain.errors import Conflict, Invalid
from models.domain.ids import DatasetId
from models.domain.job import JobKind, JobState, Lane
from webapp.actions.flood import refuse_flood
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps

PAGE = "https://huggingface.co/datasets/"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
REFERENCE = re.compile(rf"{_NAME}(?:/{_NAME})?")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
SPLIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})?")


def fetch_dataset(
    deps: Deps,
    principal: Principal,
    reference: str,
    revision: str | None = None,
    split: str = "train",
    name: str = "",
    dataset: str | None = None,
) -> JobSeen:
    """`reference`: org/name of the hub, or the address of its page. `split` may say folder/split.

    With `dataset` it becomes that dataset's next version, else a new dataset named `name`. Raises Invalid naming the
    field, NotFound, Forbidden, Conflict for a sample or where the same download is on its way.
    """
    wish = wish_for_dataset(reference, revision, split, name, dataset)
    if deps.settings.hub_offline:
        raise Invalid(
            "Downloads from the hub are switched off here (TUNEROOM_HUB_OFFLINE). Upload the files instead.",
            param="reference",
        )
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.DATASET, store.team, store.user, "datasets")
        if wish.dataset is not None:
            store.dataset_for_version(wish.dataset)
        spec = wish.model_dump(mode="json")
        states = (JobState.QUEUED, JobState.RUNNING)
        if any(job.spec == spec for job in store.jobs(limit=50, kinds=(JobKind.FETCH_DATA,), states=states).items):
            raise Conflict(f"{wish.reference} is on its way already. Wait for its end, or cancel that job.")
        refuse_flood(store, JobKind.FETCH_DATA)
        seen = see(store, store.submit(JobKind.FETCH_DATA, spec))
    ring(deps.broker, Lane.LIGHT)
    return seen


def wish_for_dataset(
    reference: str, revision: str | None, split: str, name: str, dataset: str | None
) -> FetchDataSpec:  # fmt: skip
    """What a person wrote, understood. A host other than the hub's cannot be written. Raises Invalid."""
    meant = reference.strip().removeprefix(PAGE).rstrip("/")
    meant, at, pinned = meant.partition("@")
    revision = (revision or "").strip() or (pinned if at else None)
    if not REFERENCE.fullmatch(meant) or ".." in meant or "--" in meant:
        raise Invalid(
            f"{reference[:80]!r} is not a dataset of the hub; org/name was needed, as on its page. Correct it.",
            param="reference",
        )
    if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
        raise Invalid(f"{revision[:80]!r} is not a branch, tag or commit. Correct it.", param="revision")
    wanted = split.strip() or "train"
    if not SPLIT.fullmatch(wanted):
        raise Invalid(f"{split[:80]!r} is not a split; train, test or folder/train were needed.", param="split")
    label = "".join(char for char in name.strip() if char.isprintable())[:200] or meant.rpartition("/")[2]
    return FetchDataSpec(
        reference=meant, revision=revision, split=wanted, name=label, dataset=DatasetId(dataset) if dataset else None
    )
