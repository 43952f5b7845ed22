"""The silent-harm suite: every seeded fault is stopped or named, and nothing is said where there is none.

`make harm` runs this file alone and prints the table; docs/trust.md shows the same one.
"""

from pathlib import Path

import pytest

from tests.harm import base_faults, data_faults, serving_faults, training_faults
from tests.harm.lab import Lab, Shared
from tests.harm.registry import FAULTS, Fault, table

PAGE = Path(__file__).parents[2] / "docs/trust.md"
ROOMS = (data_faults, base_faults, training_faults, serving_faults)
FEWEST = 25


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Shared:
    return Shared(tmp_path_factory.mktemp("harm"))


@pytest.fixture
def lab(tmp_path, monkeypatch, shared) -> Lab:
    return Lab(tmp_path, monkeypatch, shared)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_is_stopped_or_named(fault: Fault, lab: Lab):
    said = fault.tried(lab, True)
    assert any(fault.says in one for one in said), said


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_said_where_it_is_not_planted(fault: Fault, lab: Lab):
    assert fault.tried(lab, False) == []


def test_there_are_enough_faults_and_each_has_a_name_of_its_own():
    assert len(FAULTS) >= FEWEST
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_page_has_the_table_of_now():
    written = PAGE.read_text().split("<!-- faults -->\n")[1].split("<!-- end -->")[0]
    assert written == table()
