"""Verbs without a page yet: people and keys, the hub token, what `up` adds to an empty installation, readiness."""

import string

import pytest
from pwdlib import PasswordHash

from models import samples
from models.db.store.system import SystemStore
from models.db.tables import ApiKey, Worker, db_now
from models.domain.access import Role
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Conflict, Forbidden, Invalid, NotFound
from models.domain.ids import new_id
from models.domain.job import Lane
from models.infra import valkey
from models.infra.secrets import open_sealed
from models.infra.settings import Settings
from tests.people import make_member
from webapp.actions.add_base import add_base
from webapp.actions.add_user import add_user
from webapp.actions.create_key import create_key
from webapp.actions.ensure_bundled_base import BUNDLED_BASE, bundled_gguf, ensure_bundled_base
from webapp.actions.ensure_samples import ensure_samples
from webapp.actions.readiness import readiness
from webapp.actions.set_hub_token import set_hub_token
from webapp.actions.sign_in import digest_of, principal_of_key
from webapp.actions.speak_for_machine import speak_for_machine
from webapp.deps import Deps


def test_a_new_person_gets_a_password_that_is_stored_only_as_argon2id(house):
    password = add_user(house.deps.database, " Anna@Example.org ", role="owner", admin=True)
    with house.deps.database.read() as session:
        user = SystemStore(session).user_by_email("anna@example.org")
    assert user.is_admin and user.password_hash.startswith("$argon2id$v=19$m=65536,t=3")
    assert PasswordHash.recommended().verify(password, user.password_hash)
    assert len(password) == 24


@pytest.mark.parametrize(
    ("email", "options", "error"),
    [
        ("anna", {}, Invalid),
        ("a b@example.org", {}, Invalid),
        ("anna@example.org", {"role": "king"}, Invalid),
        ("anna@example.org", {"team": "nobodies"}, NotFound),
        ("taken@example.org", {}, Conflict),
    ],
)
def test_a_person_that_cannot_be_added_is_refused(quick_house, email, options, error):
    add_user(quick_house.deps.database, "taken@example.org")
    with pytest.raises(error):
        add_user(quick_house.deps.database, email, **options)


def test_a_key_is_256_random_bits_stored_as_a_hash_and_acts_in_its_team(house):
    database = house.deps.database
    add_user(database, "anna@example.org", role="viewer")
    secret = create_key(database, "Anna@example.org", name="laptop")
    assert secret.startswith("tr-") and len(secret) == 46
    assert set(secret) <= set(string.ascii_letters + string.digits + "-_")
    key = principal_of_key(database, secret)
    assert (key.team, key.role) == ("team-default", Role.VIEWER)
    with database.read() as session:
        row = session.get_one(ApiKey, key.key)
    assert row.secret_sha256 == digest_of(secret) and secret not in str(vars(row))


def test_a_key_needs_a_known_person_and_one_of_their_teams(house):
    database = house.deps.database
    add_user(database, "anna@example.org")
    house.team("others")
    with pytest.raises(NotFound):
        create_key(database, "nobody@example.org")
    with pytest.raises(NotFound):
        create_key(database, "anna@example.org", team="others")
    assert create_key(database, "anna@example.org", team="default").startswith("tr-")


def test_a_hub_token_rests_sealed_and_only_an_owner_changes_it(house):
    deps = house.deps
    owner = make_member(deps.database, Role.OWNER)
    set_hub_token(deps, owner, " hf_secret\n")
    with deps.database.read() as session:
        sealed = SystemStore(session).sealed_secret(owner.team, "hub_token")
    assert b"hf_secret" not in sealed
    assert open_sealed(deps.secret_key, owner.team, sealed) == "hf_secret"
    with pytest.raises(Forbidden):
        set_hub_token(deps, make_member(deps.database), "hf_other")
    with pytest.raises(Invalid):
        set_hub_token(deps, owner, "")


def test_an_empty_installation_gets_its_base_and_samples_once_as_visible_jobs(house):
    assert bundled_gguf() is not None
    for _ in range(2):
        ensure_bundled_base(house.deps)
        ensure_samples(house.deps)
    anna = house.person()
    files = house.client.get("/v1/files", headers=anna.headers).json()["data"]
    assert {file["filename"] for file in files} == {sample.filename for sample in samples.SAMPLES}
    assert all(file["tuneroom"]["is_sample"] for file in files)
    jobs = house.client.get("/api/v1/jobs", headers=anna.headers).json()["data"]
    assert sorted(job["kind"] for job in jobs) == ["add_base"] + ["check_data"] * len(samples.SAMPLES)
    base = next(job for job in jobs if job["kind"] == "add_base")
    assert (base["spec"]["name"], base["lane"], base["is_shared"]) == (BUNDLED_BASE, "light", True)
    assert "/" not in base["spec"]["reference"]
    content = house.client.get(f"/v1/files/{files[0]['id']}/content", headers=anna.headers).content
    assert content == samples.path(files[0]["filename"].removesuffix(".jsonl")).read_bytes()


def test_a_sample_can_be_trained_on_but_not_deleted(house):
    ensure_samples(house.deps)
    house.base()
    owner = house.person(Role.OWNER)
    sample = house.client.get("/v1/files", headers=owner.headers).json()["data"][0]["id"]
    body = {"model": "tiny", "training_file": sample}
    assert house.client.post("/v1/fine_tuning/jobs", json=body, headers=owner.headers).status_code == 200
    assert house.client.delete(f"/v1/files/{sample}", headers=owner.headers).status_code == 403


def test_only_the_machine_and_instance_admins_add_bases_and_a_name_is_taken_once(house):
    deps = house.deps
    spec = AddBaseSpec(name="new", source="hub", reference="org/new")
    with pytest.raises(Forbidden):
        add_base(deps, make_member(deps.database, Role.OWNER), spec)
    admin = make_member(deps.database, Role.VIEWER, is_admin=True)
    assert add_base(deps, admin, spec).job.team_id is None
    with pytest.raises(Conflict):
        add_base(deps, speak_for_machine(deps), spec)
    with pytest.raises(NotFound):
        speak_for_machine(deps, "nobodies")


def test_readiness_names_each_missing_part_and_is_true_when_all_is_there(house):
    body = house.client.get("/readyz")
    assert body.status_code == 503
    assert body.json()["missing"] == ["broker", "worker jobs", "worker light", "worker chat"]
    assert body.json()["workers"] == {"jobs": 0, "light": 0, "chat": 0}


def test_readiness_counts_live_workers_and_forgets_silent_ones(quick_house):
    broker = valkey.start(quick_house.deps.settings)
    with quick_house.deps.database.write() as session:
        for lane in Lane:
            row = Worker(id=new_id("worker"), host="h", pid=1, lane=lane, device="cpu", slots=1)
            SystemStore(session).worker_started(row)
    assert readiness(quick_house.deps).missing == []
    assert quick_house.client.get("/readyz").status_code == 200
    with quick_house.deps.database.write() as session:
        session.get_one(Worker, row.id).seen_at = db_now(-31)
    broker.stop()
    assert readiness(quick_house.deps).missing == ["broker", "worker chat"]


def test_readiness_says_that_a_database_is_away(tmp_path):
    deps = Deps.open(Settings(data_dir=tmp_path))  # never migrated
    assert readiness(deps).missing[0] == "database"
    deps.close()
