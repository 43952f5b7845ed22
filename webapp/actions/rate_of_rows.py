"""The learning rate of a training whose settings leave it open, where its rows say which one: plain texts."""

from collections.abc import Mapping

from models.catalog.rates import with_rate_of_rows, with_rate_of_worker
from models.db.store.team import TeamStore
from models.db.tables import DatasetVersion
from models.domain.base_model import Shapes
from models.domain.errors import NotFound
from models.domain.objectives import hold_only_texts
from models.domain.training import TrainingSpec
from webapp.actions.token_counts import files_of


def kinds_of(file: DatasetVersion) -> Mapping[str, int]:
    """Its usable rows by kind; empty where it is not checked yet."""
    return (file.report or {}).get("kinds") or {}


def with_rate(store: TeamStore, spec: TrainingSpec) -> TrainingSpec:
    """As it is queued. A file that is not checked yet says nothing: the rate then is the one of conversations."""
    return with_rate_of_rows(spec, are_texts=_are_texts(store, spec))


def as_trained(store: TeamStore, spec: TrainingSpec) -> TrainingSpec:
    """Settings that were queued, so that they train the same again: without a rate, on texts, it went by the width."""
    try:
        hidden_size = Shapes.model_validate(store.base(spec.base).shapes).hidden_size
        return with_rate_of_worker(spec, hidden_size, are_texts=_are_texts(store, spec))
    except NotFound:
        return spec  # its base or its rows are gone, and with them what it could train on again


def _are_texts(store: TeamStore, spec: TrainingSpec) -> bool:
    return hold_only_texts([kinds_of(store.file(file)) for file in files_of(spec.data)])
