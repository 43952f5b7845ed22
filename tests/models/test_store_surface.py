"""Which doors the store has: SystemStore's are listed by name, TeamStore's are scoped, each of them."""

import inspect
from datetime import UTC, datetime

import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_sweeps import NewRun
from models.db.tables import BaseModel, Merge, TrackedRun
from models.domain.access import Member, Role, System
from models.domain.errors import Forbidden, NotFound
from models.domain.ids import TeamId
from models.domain.job import CancelWish, JobKind
from models.domain.reading import Reading
from tests.people import make_adapter, make_member, make_team

SYSTEM = {
    # the queue
    "claim", "beat", "record", "checkpoint_saved", "settle", "release", "sweep", "claimable", "live_slots",
    "worker_started", "worker_seen", "worker_stopped", "workers", "take_lease", "save_blobs", "child_lost",
    "let_go_on", "are_held",
    # people, before anybody is signed in
    "team_named", "user_by_email", "email_of", "add_user", "add_key", "memberships", "principal_of_key", "key_was_used",
    "save_secret", "sealed_secret",
    # browsers, before a request has a principal
    "add_sign_in", "member_of_sign_in", "sign_in_was_seen", "end_sign_in", "end_sign_ins_of", "team_to_enter",
    "has_administrator", "replace_setup_token", "is_setup_token", "use_setup_token", "set_password",
    "open_invitation", "use_invitation", "is_in_team", "join_team",
    "is_known_place", "seconds_to_wait", "add_try", "try_succeeded", "forget_tries", "one_at_a_time",
    # links, before a request has a principal
    "link_of_token", "link_is_in_force", "count_question", "uncount_question", "settle_question", "is_question_of",
    # trackers
    "untracked", "begin_tracking", "due_tracked", "due_checks", "untold", "told_until", "telling_failed",
    "tracker_checked",
    # clearing away
    "installation", "drop_checkpoints", "in_use", "old_blobs", "forget", "known_blobs",
    "forget_logs", "forget_traces", "ended_before",
    # staging and start-up
    "principal", "job", "base", "adapter", "file", "checkpoints", "parts", "gate_report", "newest_file",
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
    "describe_base",
    "administrators",
    "may_manage_people",
    "email_of",
    "add_team",
    "may_change",
}  # bases are for all; the others read no team's row


def public(store: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(store, inspect.isfunction) if not name.startswith("_")}


def test_system_store_has_exactly_these_doors():
    assert public(SystemStore) == SYSTEM


def test_the_scoping_test_below_knows_every_door_of_team_store():
    assert public(TeamStore) == UNSCOPED | set(LOOK_UPS) | set(LISTS) | ADDED | ADDED_PEOPLE


ADDED = {"add_file", "add_conversation", "submit", "add_link", "add_sweep", "add_preset", "add_tracker"}
ADDED_PEOPLE = {"add_invitation", "add_my_key"}
LOOK_UPS = {
    "conversation": lambda store, ids: store.conversation(ids["chat"]),
    "rename_conversation": lambda store, ids: store.rename_conversation(ids["chat"], "mine"),
    "set_panes": lambda store, ids: store.set_panes(ids["chat"], []),
    "delete_conversation": lambda store, ids: store.delete_conversation(ids["chat"]),
    "messages": lambda store, ids: store.messages(ids["chat"]),
    "ask_in_panes": lambda store, ids: store.ask_in_panes(ids["chat"], "Hi", [0]),
    "save_answer": lambda store, ids: store.save_answer(ids["chat"], pane=0, turn=0, content="", model="m", made={}),
    "link": lambda store, ids: store.link(ids["link"]),
    "revoke_link": lambda store, ids: store.revoke_link(ids["link"]),
    "link_uses": lambda store, ids: store.link_uses(ids["link"], limit=5),
    "tracker": lambda store, ids: store.tracker(ids["tracker"]),
    "change_tracker": lambda store, ids: store.change_tracker(ids["tracker"], is_on=False),
    "ask_check": lambda store, ids: store.ask_check(ids["tracker"]),
    "delete_tracker": lambda store, ids: store.delete_tracker(ids["tracker"]),
    "write_card": lambda store, ids: store.write_card(ids["adapter"], "mine"),
    "set_role": lambda store, ids: store.set_role(ids["user"], Role.VIEWER),
    "remove_person": lambda store, ids: store.remove_person(ids["user"]),
    "revoke_invitation": lambda store, ids: store.revoke_invitation(ids["invitation"]),
    "revoke_key": lambda store, ids: store.revoke_key(ids["key"]),
    "end_my_sign_in": lambda store, ids: store.end_my_sign_in(ids["sign_in"]),
    "switch_team": lambda store, ids: store.switch_team("team-default"),
    "file": lambda store, ids: store.file(ids["file"]),
    "dataset": lambda store, ids: store.dataset(ids["dataset"]),
    "versions_of": lambda store, ids: store.versions_of(ids["dataset"]),
    "dataset_for_version": lambda store, ids: store.dataset_for_version(ids["dataset"]),
    "add_version": lambda store, ids: store.add_version(
        ids["dataset"], filename="a.jsonl", purpose="fine-tune", scope="team/b", sha256="a" * 64, size=1
    ),
    "parts": lambda store, ids: store.parts(ids["file"]),
    "reports": lambda store, ids: store.reports(ids["file"]),
    "tokens_report": lambda store, ids: store.tokens_report(ids["file"], BaseModel(tree_sha256="a"), "assistant", {}),
    "data_jobs": lambda store, ids: store.data_jobs(ids["file"], JobKind.GATE_DATA),
    "newest_version": lambda store, ids: store.newest_version(ids["dataset"]),
    "read_again": lambda store, ids: store.read_again(ids["file"], Reading()),
    "delete_file": lambda store, ids: store.delete_file(ids["file"]),
    "delete_dataset": lambda store, ids: store.delete_dataset(ids["dataset"]),
    "delete_job": lambda store, ids: store.delete_job(ids["job"]),
    "delete_adapter": lambda store, ids: store.delete_adapter("adapter-unknown"),
    "delete_merge": lambda store, ids: store.delete_merge("merge-unknown"),
    "job": lambda store, ids: store.job(ids["job"]),
    "request_cancel": lambda store, ids: store.request_cancel(ids["job"], CancelWish.DISCARD),
    "sweep": lambda store, ids: store.sweep(ids["sweep"]),
    "sweep_runs": lambda store, ids: store.sweep_runs(ids["sweep"]),
    "cancel_waiting": lambda store, ids: store.cancel_waiting(ids["sweep"]),
    "preset": lambda store, ids: store.preset(ids["preset"]),
    "change_preset": lambda store, ids: store.change_preset(ids["preset"], name="mine"),
    "delete_preset": lambda store, ids: store.delete_preset(ids["preset"]),
    "events": lambda store, ids: store.events(ids["job"], limit=5),
    "metrics": lambda store, ids: store.metrics(ids["job"], "train_loss"),
    "checkpoints": lambda store, ids: store.checkpoints(ids["job"], limit=5),
    "adapter": lambda store, ids: store.adapter(ids["adapter"]),
    "merge": lambda store, ids: store.merge("merge-1"),
    "served": lambda store, ids: store.served(ids["adapter"]),
}
LISTS = {
    "runs": lambda store, ids: store.runs(limit=5),
    "runs_named": lambda store, ids: store.runs_named([ids["job"]]),
    "run_counts": lambda store, ids: store.run_counts(),
    "places_in_queue": lambda store, ids: store.places_in_queue([ids["job"]]),
    "sparks": lambda store, ids: store.sparks([ids["job"]]),
    "paces": lambda store, ids: store.paces([ids["job"]]),
    "buckets": lambda store, ids: store.buckets(ids["job"], ("train_loss",)),
    "held_seconds": lambda store, ids: store.held_seconds(ids["job"], datetime(2026, 3, 1, tzinfo=UTC)),
    "recent": lambda store, ids: store.recent(ids["job"]),
    "told": lambda store, ids: store.told(ids["job"], limit=5),
    "log_tail": lambda store, ids: store.log_tail(ids["job"]),
    "samples": lambda store, ids: store.samples(ids["job"], limit=5),
    "links": lambda store, ids: store.links(),
    "presets": lambda store, ids: store.presets(),
    "trackers": lambda store, ids: store.trackers(),
    "tracked": lambda store, ids: store.tracked(ids["job"]),
    "search_adapters": lambda store, ids: store.search_adapters("", limit=5, offset=0)[0],
    "search_merges": lambda store, ids: store.search_merges("", limit=5, offset=0)[0],
    "merges_of": lambda store, ids: store.merges_of(ids["adapter"]),
    "last_merge_job": lambda store, ids: store.last_merge_job(ids["adapter"]),
    "origin_of": lambda store, ids: store.origin_of(ids["file"]),
    "people": lambda store, ids: [person for person in store.people() if person.user_id == ids["user"]],
    "invitations": lambda store, ids: store.invitations(),
    "my_keys": lambda store, ids: store.my_keys(),
    "team_keys": lambda store, ids: store.team_keys(),
    "my_sign_ins": lambda store, ids: store.my_sign_ins(),
    "usage": lambda store, ids: any(vars(store.usage()).values()),
    "files": lambda store, ids: store.files(limit=5).items,
    "conversations": lambda store, ids: store.conversations(limit=5).items,
    "search_datasets": lambda store, ids: store.search_datasets("", limit=5, offset=0)[0],
    "adapters_by_base": lambda store, ids: store.adapters_by_base(),
    "trainings_on": lambda store, ids: store.trainings_on(ids["dataset"]),
    "training_counts": lambda store, ids: [n for n in store.training_counts([ids["dataset"]]).values() if n],
    "checks_of": lambda store, ids: store.checks_of([ids["file"]]),
    "trainable_files": lambda store, ids: store.trainable_files(limit=5),
    "past_trainings": lambda store, ids: store.past_trainings("base-1", limit=5),
    "jobs": lambda store, ids: store.jobs(limit=5).items,
    "adapters": lambda store, ids: store.adapters(limit=5).items,
    "merges": lambda store, ids: store.merges(limit=5).items,
    "job_counts": lambda store, ids: [count for count in store.job_counts() if count],
    "repeated": lambda store, ids: store.repeated("h" * 64),
    "repeated_sweep": lambda store, ids: store.repeated_sweep("w" * 64),
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
        key = store.add_my_key("laptop", "k" * 64)
        invitation = TeamStore(session, as_owner(anna)).add_invitation("i" * 64, Role.VIEWER, None)
        sign_in = SystemStore(session).add_sign_in(anna.user, anna.team, "s" * 64, address="", agent="")
        adapter = make_adapter(session, anna)
        wishes = {"title": "", "sentence": "", "days": 1, "max_requests": 1, "max_tokens": 1}
        link = store.add_link(adapter, "l" * 64, **wishes)
        session.add(Merge(
            id="merge-1", team_id=anna.team, name="merge:1", job_id=adapter.job_id, adapter_id=adapter.id,
            base_id=adapter.base_id, mode="as_tested", storage_dtype="bf16", scope="s", tree_sha256="a" * 64, size=1,
            report={},
        ))  # fmt: skip
        store.submit(JobKind.MERGE, {"adapter": adapter.id})
        sweep = store.add_sweep("a", [], [NewRun(spec={}, values={"schedule.seed": 1})], request_hash="w" * 64)
        tracker = TeamStore(session, as_owner(anna)).add_tracker("tensorboard", {}, None)
        session.add(TrackedRun(tracker_id=tracker.id, job_id=job.id))
        preset = store.add_preset("ours", {}, is_shared=True)
        people = {
            "preset": preset.id,
            "tracker": tracker.id,
            "key": key.id,
            "sweep": sweep.id,
            "invitation": invitation.id,
            "sign_in": sign_in.id,
        }
        return (
            people
            | {"adapter": adapter.id, "link": link.id, "chat": store.add_conversation("Hi", []).id}
            | {"file": file.id, "dataset": file.dataset_id, "job": job.id, "user": anna.user}
        )


def as_owner(member: Member) -> Member:
    return Member(user=member.user, team=member.team, role=Role.OWNER)


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
