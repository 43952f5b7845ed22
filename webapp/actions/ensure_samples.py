"""Adds the sample datasets as files that everybody may read, each with its check. Does nothing the second time."""

from models import samples
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.job import JobKind, Lane
from models.infra.storage import SHARED
from webapp.actions.ring import ring
from webapp.deps import Deps


def ensure_samples(deps: Deps) -> list[str]:
    """Returns the ids of the files that were added."""
    added = [file_id for sample in samples.SAMPLES if (file_id := _ensure(deps, sample)) is not None]
    if added:
        ring(deps.broker, Lane.LIGHT)
    return added


def _ensure(deps: Deps, sample: samples.Sample) -> str | None:
    with deps.database.read() as session:
        if SystemStore(session).has_sample(sample.filename):
            return None
    blob = deps.storage.put_file(SHARED, samples.path(sample.name))
    with deps.database.write() as session:
        system = SystemStore(session)
        store = TeamStore(session, system.principal())
        if system.has_sample(sample.filename):
            return None
        file = store.add_file(
            filename=sample.filename, purpose="fine-tune", scope=blob.scope, sha256=blob.sha256, size=blob.size,
            shared=True,
        )  # fmt: skip
        store.submit(JobKind.CHECK_DATA, {"file": file.id}, shared=True)
        return file.id
