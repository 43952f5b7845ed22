"""Queues the import of a base model, for everybody on this installation. Only administrators may."""

import re

from pydantic import ValidationError

from models.catalog.sources import detect
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Kind, Principal, Verb
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Conflict, Invalid
from models.domain.job import JobKind, Lane
from webapp import words
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps


def add_base(deps: Deps, principal: Principal, spec: AddBaseSpec) -> JobSeen:
    """A folder or file that the reference names is the worker's to read, never this process's.

    Raises Forbidden, or Conflict where a base of this name is here or on its way.
    """
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.BASE, None, store.user, "base models of this installation")
        if SystemStore(session).has_base_or_import(spec.name):
            raise Conflict(f'A base model "{spec.name}" is here already, or being imported. Choose another name.')
        seen = see(store, store.submit(JobKind.ADD_BASE, spec.model_dump(mode="json"), shared=True))
    ring(deps.broker, Lane.LIGHT)
    return seen


def wish_for_base(reference: str, name: str = "", description: str = "") -> AddBaseSpec:
    """What a person wrote, understood. Raises Invalid naming the field (`param`) that cannot be used.

    Only words are judged here: whether something lies at a path, the worker finds out.
    """
    meant = reference.strip()
    try:
        source = detect(meant)
        source.parse(meant)
    except Invalid as refusal:
        raise Invalid(refusal.message, code=refusal.code, param="reference") from None
    try:
        return AddBaseSpec(
            name=name.strip() or name_of(meant), source=source.name, reference=meant, description=description.strip()
        )
    except ValidationError as fault:
        first = fault.errors()[0]
        if first["loc"] == ("name",):
            raise Invalid(
                f'"{name[:60]}" cannot be a public id: it needs 1 to 96 lower-case letters, digits, dots, dashes or '
                "underscores, and begins with a letter or digit. Change it.",
                param="name",
            ) from None
        raise words.refused_field([first]) from None


def name_of(reference: str) -> str:
    """A public id from a reference: its last part, lower case, without revision and ending."""
    last = reference.rstrip("/").rpartition("/")[2].partition("@")[0].lower().removesuffix(".gguf")
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-._")[:96] or "base"
