"""TeamStore's base models, adapters and merges, and which of them a public model id means."""

from dataclasses import dataclass

from sqlalchemy import func, or_, select

from models.db.store.scope import Page, Scoped, absent
from models.db.tables import Adapter, BaseModel, Membership, Merge, User
from models.domain.access import Kind, Verb
from models.domain.chat import ServedModel, TreeRef
from models.domain.errors import Code, NotFound
from models.domain.ids import Sha256
from models.domain.training import Quantisation


@dataclass(frozen=True)
class Servable:
    """A public model with what is behind it: exactly one of the three."""

    served: ServedModel
    row: BaseModel | Adapter | Merge


class TeamModels(Scoped):
    """Bases are instance-wide; adapters and merges are the team's."""

    def base(self, name_or_id: str) -> BaseModel:
        row = self.session.scalar(
            select(BaseModel).where(
                or_(BaseModel.id == name_or_id, BaseModel.name == name_or_id), BaseModel.deleted_at.is_(None)
            )
        )
        if row is None:
            raise _no_model(name_or_id)
        self.require(Verb.USE, Kind.BASE, None, None, "this base model")
        return row

    def bases(self) -> list[BaseModel]:
        query = select(BaseModel).where(BaseModel.deleted_at.is_(None)).order_by(BaseModel.id)
        return list(self.session.scalars(query))

    def adapters_by_base(self) -> dict[str, int]:
        """How many adapters of the team stand on each base."""
        query = (
            select(Adapter.base_id, func.count())
            .where(Adapter.deleted_at.is_(None), self.within(Adapter.team_id))
            .group_by(Adapter.base_id)
        )
        return {base: count for base, count in self.session.execute(query)}  # noqa: C416 - rows, not pairs

    def administrators(self) -> list[str]:
        """The addresses of the team's people who administer the installation: whom to ask for a base model."""
        query = (
            select(User.email)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.team_id == self.team, User.is_admin, User.disabled_at.is_(None))
            .order_by(User.email)
        )
        return list(self.session.scalars(query))

    def describe_base(self, base_id: str, description: str) -> BaseModel:
        base = self.base(base_id)
        self.require(Verb.CHANGE, Kind.BASE, None, None, "base models of this installation")
        base.description = description
        self.session.flush()
        return base

    def adapter(self, name_or_id: str, verb: Verb = Verb.READ) -> Adapter:
        row = self.session.scalar(
            select(Adapter).where(
                or_(Adapter.id == name_or_id, Adapter.name == name_or_id),
                Adapter.deleted_at.is_(None),
                self.within(Adapter.team_id),
            )
        )
        if row is None:
            raise absent("adapter", name_or_id)
        self.require(verb, Kind.ADAPTER, row.team_id, row.created_by, "this adapter", row.id)
        return row

    def adapters(self, *, limit: int, after: str | None = None) -> Page[Adapter]:
        query = select(Adapter).where(Adapter.deleted_at.is_(None), self.within(Adapter.team_id))
        if after is not None:
            query = query.where(Adapter.id < after)
        return self.page(query.order_by(Adapter.id.desc()), limit)

    def adapter_of_job(self, job_id: str) -> Adapter | None:
        live = Adapter.deleted_at.is_(None)
        return self.session.scalar(select(Adapter).where(Adapter.job_id == job_id, live, self.within(Adapter.team_id)))

    def merge(self, name_or_id: str, verb: Verb = Verb.READ) -> Merge:
        row = self.session.scalar(
            select(Merge).where(
                or_(Merge.id == name_or_id, Merge.name == name_or_id),
                Merge.deleted_at.is_(None),
                self.within(Merge.team_id),
            )
        )
        if row is None:
            raise absent("merge", name_or_id)
        self.require(verb, Kind.MERGE, row.team_id, row.created_by, "this merge")
        return row

    def merges(self, *, limit: int, after: str | None = None) -> Page[Merge]:
        query = select(Merge).where(Merge.deleted_at.is_(None), self.within(Merge.team_id))
        if after is not None:
            query = query.where(Merge.id < after)
        return self.page(query.order_by(Merge.id.desc()), limit)

    def merge_of_job(self, job_id: str) -> Merge | None:
        live = Merge.deleted_at.is_(None)
        return self.session.scalar(select(Merge).where(Merge.job_id == job_id, live, self.within(Merge.team_id)))

    def served(self, public_id: str) -> Servable:
        """What chat loads for this id: an adapter on the quantisation it was trained on (training-truth)."""
        try:
            if public_id.startswith(("ft:", "adapter-")):
                adapter = self.adapter(public_id, Verb.USE)
                base = self.session.get_one(BaseModel, adapter.base_id)
                return Servable(_served_adapter(adapter, base), adapter)
            if public_id.startswith(("merge:", "merge-")):
                merge = self.merge(public_id, Verb.USE)
                tree = TreeRef(scope=merge.scope, sha256=Sha256(merge.tree_sha256))
                return Servable(ServedModel(public_id=merge.name, base=tree, quantisation=Quantisation.NONE), merge)
        except NotFound:
            raise _no_model(public_id) from None
        base = self.base(public_id)
        tree = TreeRef(scope=base.scope, sha256=Sha256(base.tree_sha256))
        return Servable(ServedModel(public_id=base.name, base=tree, quantisation=Quantisation.NONE), base)


def _served_adapter(adapter: Adapter, base: BaseModel) -> ServedModel:
    return ServedModel(
        public_id=adapter.name,
        base=TreeRef(scope=base.scope, sha256=Sha256(base.tree_sha256)),
        quantisation=Quantisation(adapter.quantisation),
        adapter=TreeRef(scope=adapter.scope, sha256=Sha256(adapter.tree_sha256)),
    )


def _no_model(public_id: str) -> NotFound:
    return NotFound(
        f"The model {public_id[:80]!r} does not exist or this key may not use it. GET /v1/models lists those it may.",
        code=Code.MODEL_NOT_FOUND,
        param="model",
    )
