"""Which doors the store has: SystemStore's are listed by name, TeamStore's are scoped, each of them."""

import inspect

import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Member, Role, System
from models.domain.errors import Forbidden, NotFound
from models.domain.ids import TeamId
from models.domain.job import CancelWish, JobKind
from tests.people import make_member, make_team

SYSTEM = {
    # the queue
    "claim", "beat", "record", "checkpoint_saved", "settle", "release", "sweep", "claimable", "live_slots",
    "worker_started", "worker_seen", "worker_stopped", "workers", "take_lease", "save_blobs", "child_lost",
    "let_go_on",
    # people, before anybody is signed in
    "team_named", "user_by_email", "add_user", "add_key", "memberships", "principal_of_key", "key_was_used",
    "save_secret", "sealed_secret",
    # browsers, before a request has a principal
    "add_sign_in", "member_of_sign_in", "sign_in_was_seen", "end_sign_in",
    # staging and start-up
    "principal", "job", "base", "adapter", "file", "checkpoints",
    "has_base_or_import", "had_base", "has_sample",
}  # fmt: skip
UNSCOPED = {
    "require",
    "page",
    "within",
    "me",
    "my_teams",
    "bases",
    "base",
    "delete_base",
}  # bases are for all; the others read no team's row


def public(store: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(store, inspect.isfunction) if not name.startswith("_")}


def test_system_store_has_exactly_these_doors():
    assert public(SystemStore) == SYSTEM


def test_the_scoping_test_below_knows_every_door_of_team_store():
    assert public(TeamStore) == UNSCOPED | set(LOOK_UPS) | set(LISTS) | {"add_file", "submit"}


LOOK_UPS = {
    "file": lambda store, ids: store.file(ids["file"]),
    "delete_file": lambda store, ids: store.delete_file(ids["file"]),
    "delete_dataset": lambda store, ids: store.delete_dataset(ids["dataset"]),
    "delete_job": lambda store, ids: store.delete_job(ids["job"]),
    "delete_adapter": lambda store, ids: store.delete_adapter("adapter-unknown"),
    "delete_merge": lambda store, ids: store.delete_merge("merge-unknown"),
    "job": lambda store, ids: store.job(ids["job"]),
    "request_cancel": lambda store, ids: store.request_cancel(ids["job"], CancelWish.DISCARD),
    "events": lambda store, ids: store.events(ids["job"], limit=5),
    "metrics": lambda store, ids: store.metrics(ids["job"], "train_loss"),
    "checkpoints": lambda store, ids: store.checkpoints(ids["job"], limit=5),
    "adapter": lambda store, ids: store.adapter("adapter-unknown"),
    "merge": lambda store, ids: store.merge("merge-unknown"),
    "served": lambda store, ids: store.served("ft:unknown"),
}
LISTS = {
    "files": lambda store, ids: store.files(limit=5).items,
    "jobs": lambda store, ids: store.jobs(limit=5).items,
    "adapters": lambda store, ids: store.adapters(limit=5).items,
    "merges": lambda store, ids: store.merges(limit=5).items,
    "job_counts": lambda store, ids: [count for count in store.job_counts() if count],
    "repeated": lambda store, ids: store.repeated("h" * 64),
    "adapter_of_job": lambda store, ids: store.adapter_of_job(ids["job"]),
    "merge_of_job": lambda store, ids: store.merge_of_job(ids["job"]),
}


@pytest.fixture
def ids(database):
    """A file and a job of somebody in the default team."""
    anna = make_member(database)
    with database.write() as session:
        store = TeamStore(session, anna)
        file = store.add_file(filename="a.jsonl", purpose="fine-tune", scope="team/a", sha256="a" * 64, size=1)
        job = store.submit(JobKind.TOY, {"count": 1}, request_hash="h" * 64)
        return {"file": file.id, "dataset": file.dataset_id, "job": job.id, "user": anna.user}


def stranger(database) -> Member:
    return make_member(database, Role.OWNER, make_team(database, "others"), is_admin=True)


@pytest.mark.parametrize("door", LOOK_UPS)
def test_another_teams_row_is_absent_even_for_an_instance_admin(database, ids, door):
    principal = stranger(database)
    with pytest.raises(NotFound), database.write() as session:
        LOOK_UPS[door](TeamStore(session, principal), ids)


@pytest.mark.parametrize("door", LISTS)
def test_another_teams_rows_are_in_no_list(database, ids, door):
    with database.read() as session:
        assert not LISTS[door](TeamStore(session, stranger(database)), ids)


def test_what_is_created_belongs_to_the_principals_team_and_is_shared_only_by_the_installation(database, ids):
    principal = stranger(database)
    with database.write() as session:
        assert TeamStore(session, principal).submit(JobKind.TOY, {}).team_id == principal.team
    member = make_member(database)
    with pytest.raises(Forbidden), database.write() as session:
        TeamStore(session, member).submit(JobKind.ADD_BASE, {}, shared=True)
    with database.write() as session:
        assert TeamStore(session, System(team=TeamId(member.team))).submit(JobKind.TOY, {}, shared=True).team_id is None


def test_a_repeated_create_is_known_to_its_own_person_only(database, ids):
    anna = Member(user=ids["user"], team=TeamId("team-default"), role=Role.MEMBER)
    bert = make_member(database)
    with database.read() as session:
        assert TeamStore(session, anna).repeated("h" * 64).id == ids["job"]
        assert TeamStore(session, bert).repeated("h" * 64) is None
