"""Builders: people, teams and jobs in a database."""

from sqlalchemy.orm import Session

from models.db.engine import Database
from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Adapter, BaseModel, Job, Team
from models.domain.access import Member, Role, System
from models.domain.ids import TeamId, UserId, new_id
from models.domain.job import JobKind


def make_member(
    database: Database, role: Role = Role.MEMBER, team: str = DEFAULT_TEAM, *, is_admin: bool = False
) -> Member:
    with database.write() as session:
        found = session.get(Team, team)
        assert found is not None
        email = f"{new_id('x')}@example.org"
        user = SystemStore(session).add_user(email, found, role, is_admin=is_admin, password_hash=None)
        return Member(user=UserId(user.id), team=TeamId(team), role=role, is_admin=is_admin)


def make_team(database: Database, name: str) -> TeamId:
    with database.write() as session:
        team = Team(id=new_id("team"), name=name)
        session.add(team)
        return TeamId(team.id)


def make_job(database: Database, kind: JobKind = JobKind.TOY, team: TeamId = DEFAULT_TEAM, **spec) -> Job:
    with database.write() as session:
        return TeamStore(session, System(team=team)).submit(kind, {"count": 3, **spec})


def make_adapter(session: Session, member: Member, base_name: str = "tiny") -> Adapter:
    """An adapter with its finished training and its base, as rows only: nothing lies in storage."""
    stored = {"scope": f"team/{member.team}", "tree_sha256": "a" * 64, "size": 1}
    job = TeamStore(session, member).submit(JobKind.TRAIN, {})
    base = BaseModel(
        id=new_id("base"), name=base_name, source="gguf", reference="tiny.gguf", facts={}, shapes={}, **stored
    )
    session.add(base)
    session.flush()
    adapter = Adapter(
        id=new_id("adapter"), team_id=member.team, name=f"ft:{base_name}:team::{job.id[-8:]}", job_id=job.id,
        base_id=base.id, quantisation="nf4", manifest={}, created_by=member.user, **stored,
    )  # fmt: skip
    session.add(adapter)
    session.flush()
    return adapter
