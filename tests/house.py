"""A whole installation for tests of the web side: database, storage, application, people, and finished work."""

import io
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from models.db.store.artefacts import CheckedFile, NewAdapter, NewBase, NewMerge, Stored
from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Key, Role, System
from models.domain.ids import KeyId, TeamId
from models.domain.job import JobKind, JobState, Lane
from models.infra.settings import Settings
from models.infra.storage import SHARED, team_scope
from tests.databases import new_sqlite
from tests.people import make_member, make_team
from webapp.actions.sign_in import digest_of
from webapp.app import make_app
from webapp.deps import Deps

ROWS = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'
SHAPES = {
    "architecture": "LlamaForCausalLM", "hidden_size": 32, "layers": 1, "vocabulary": 264, "context_length": 512,
    "parameters": 1000,
    "modules": [{"name": "model.layers.0.self_attn.q_proj", "kind": "linear", "shape": [32, 32], "dtype": "bf16"}],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody with a key."""

    principal: Key
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


@dataclass(frozen=True, kw_only=True)
class House:
    """`client` is nobody; pass `person.headers`. Nothing claims jobs unless a test does."""

    deps: Deps
    client: TestClient

    def person(self, role: Role = Role.MEMBER, team: TeamId = DEFAULT_TEAM) -> Person:
        member = make_member(self.deps.database, role, team)
        secret = "tr-" + secrets.token_urlsafe(32)
        with self.deps.database.write() as session:
            store = SystemStore(session)
            user = TeamStore(session, member).me()[0]
            key = store.add_key(user, team, "test", digest_of(secret))
            principal = Key(key=KeyId(key.id), user=member.user, team=team, role=role)
        return Person(principal=principal, secret=secret)

    def team(self, name: str) -> TeamId:
        return make_team(self.deps.database, name)

    def upload(self, person: Person, name: str = "rows.jsonl", rows: bytes = ROWS):
        files = {"file": (name, io.BytesIO(rows))}
        return self.client.post("/v1/files", files=files, data={"purpose": "fine-tune"}, headers=person.headers)

    def base(self, name: str = "tiny", texts: Path | None = None) -> str:
        """A base model as an import leaves it, with the tokenizer and template of a folder; returns its id."""
        files = {path.name: path.read_bytes() for path in texts.iterdir()} if texts else {}
        tree = self._tree(SHARED, {"config.json": b"{}", **files})
        new = NewBase(
            stored=tree, name=name, description="A tiny base", source="gguf", reference="/somewhere/secret/tiny.gguf",
            revision=None, licence="apache-2.0", facts={}, shapes=SHAPES,
        )  # fmt: skip
        self._finish(System(team=DEFAULT_TEAM), JobKind.ADD_BASE, {"name": name}, new, shared=True)
        with self.deps.database.read() as session:
            return TeamStore(session, System(team=DEFAULT_TEAM)).base(name).id

    def trained(self, person: Person, base_id: str, rows: bytes = ROWS) -> tuple[str, str]:
        """A finished training of `person`; returns the job's id and the adapter's."""
        file = self.upload(person, rows=rows).json()["id"]
        spec = {"base": base_id, "data": {"training_file": file}}
        tree = self._tree(team_scope(person.principal.team), {"adapter_model.safetensors": b"weights", "a/b": b"x"})
        manifest = {"method": "lora", "method_options": {"rank": 4}, "data": {"first_loss": 2.0, "last_loss": 1.0}}
        new = NewAdapter(stored=tree, base_id=base_id, quantisation="nf4", suffix=None, manifest=manifest)
        job = self._finish(person.principal, JobKind.TRAIN, spec, new)
        return job, "adapter-" + job.split("-", 1)[1]

    def merged(self, person: Person, adapter_id: str) -> tuple[str, str]:
        """A finished merge; returns the job's id and the merge's."""
        tree = self._tree(team_scope(person.principal.team), {"model.safetensors": b"merged"})
        new = NewMerge(
            stored=tree, adapter_id=adapter_id, mode="as_tested", storage_dtype="bf16", report={"passed": True}
        )
        job = self._finish(person.principal, JobKind.MERGE, {"adapter": adapter_id}, new)
        return job, "merge-" + job.split("-", 1)[1]

    def check_file(
        self, file_id: str, *, is_usable: bool, details: str | None = None, rows: int = 1,
        usable_rows: int | None = None, report: dict | None = None,
    ) -> None:  # fmt: skip
        """What the check job leaves behind."""
        verdict = CheckedFile(
            file_id=file_id, is_usable=is_usable, details=details, format="messages", rows=rows,
            usable_rows=rows if usable_rows is None else usable_rows, report=report or {},
        )  # fmt: skip
        with self.deps.database.write() as session:
            store = SystemStore(session)
            job = store.claim(Lane.LIGHT, "worker-test", 60)
            assert job is not None
            store.settle(job.id, job.fence, JobState.SUCCEEDED, artefact=verdict)

    def _tree(self, scope: str, files: dict[str, bytes]) -> Stored:
        folder = self.deps.settings.data_dir / f"made-{secrets.token_hex(4)}"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        tree, listing = self.deps.storage.put_tree(scope, folder)
        return Stored(scope=scope, tree_sha256=tree.sha256, size=listing.total_bytes)

    def _finish(self, principal, kind: JobKind, spec: dict, artefact, *, shared: bool = False) -> str:
        with self.deps.database.write() as session:
            job = TeamStore(session, principal).submit(kind, spec, shared=shared, priority=9)
        with self.deps.database.write() as session:
            store = SystemStore(session)
            claimed = store.claim(Lane(job.lane), "worker-test", 60)
            assert claimed is not None and claimed.id == job.id
            store.settle(job.id, claimed.fence, JobState.SUCCEEDED, artefact=artefact)
        return job.id


def open_house(settings: Settings) -> House:
    deps = Deps.open(settings)
    return House(deps=deps, client=TestClient(make_app(deps), raise_server_exceptions=False))


@pytest.fixture
def house(database_url: str, tmp_path: Path):
    """On both databases. No broker: every bell fails, and nothing may depend on that."""
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, max_upload_bytes=2_000_000)
    opened = open_house(settings)
    yield opened
    opened.client.close()
    opened.deps.close()


@pytest.fixture
def quick_house(tmp_path: Path):
    """On SQLite alone, for what ends before the database or treats both alike."""
    opened = open_house(migrated_sqlite(Settings(data_dir=tmp_path / "data", max_upload_bytes=2_000_000)))
    yield opened
    opened.client.close()
    opened.deps.close()


def migrated_sqlite(settings: Settings) -> Settings:
    settings.data_dir.mkdir(exist_ok=True)
    new_sqlite(settings.data_dir)
    return settings


def error_of(response) -> dict:
    """The error object, after a look at its shape."""
    error = json.loads(response.content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
