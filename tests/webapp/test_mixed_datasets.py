"""A dataset that is mixed into a run is used by it: lists, pages and deletions know. On both databases."""

import pytest

from models.db.store.team import TeamStore
from models.domain.errors import Conflict
from models.domain.job import JobKind
from tests.house import House, house
from webapp.actions.delete_dataset import delete_dataset
from webapp.actions.show_datasets import show_dataset

__all__ = ["house"]


def test_a_mixed_in_dataset_counts_as_used_and_is_kept_while_the_run_waits(house: House):
    anna, base = house.person(), house.base()
    names = ("first.jsonl", "mixed.jsonl", "unused.jsonl")
    files = [house.upload(anna, name, f'{{"text": "{name}"}}\n'.encode()).json()["id"] for name in names]
    data = {"training_file": files[0], "rows": {"mixed": [{"file": files[1], "weight": 0.5}]}}
    with house.deps.database.write() as session:
        job = TeamStore(session, anna.principal).submit(JobKind.TRAIN, {"base": base, "data": data}).id
        TeamStore(session, anna.principal).submit(JobKind.TRAIN, {"base": base, "data": {"training_file": files[0]}})
    with house.deps.database.read() as session:
        store = TeamStore(session, anna.principal)
        datasets = [store.file(file).dataset_id for file in files]
        assert store.training_counts(datasets) == dict(zip(datasets, (2, 1, 0), strict=True))
        assert [[one.id for one in store.trainings_on(dataset)] for dataset in datasets[1:]] == [[job], []]
    (run,) = show_dataset(house.deps, anna.principal, datasets[1]).runs
    assert run.versions == (1,)
    with pytest.raises(Conflict, match="is used by"):
        delete_dataset(house.deps, anna.principal, datasets[1])
    delete_dataset(house.deps, anna.principal, datasets[2])
