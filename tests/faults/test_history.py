"""The judge of the fault tests judges: each thing it must never let pass, it does not."""

from datetime import UTC, datetime

import pytest

from models.domain.job import JobState
from tests.harness import History, Move

QUEUED, RUNNING, SUCCEEDED = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED
GOOD = [(0, None, QUEUED), (1, QUEUED, RUNNING), (1, RUNNING, QUEUED), (2, QUEUED, RUNNING), (2, RUNNING, SUCCEEDED)]
LOST = GOOD[:-1]
COMMITTED_TWICE = [*GOOD, (2, RUNNING, SUCCEEDED)]
STALE_COMMIT = [*GOOD[:-1], (1, RUNNING, SUCCEEDED)]
TWO_WINNERS = [*GOOD[:2], (1, QUEUED, RUNNING), (1, RUNNING, SUCCEEDED)]
REVIVED = [*GOOD, (3, SUCCEEDED, RUNNING)]


def history(moves) -> History:
    return History({"job": [Move(datetime.now(UTC), *move) for move in moves]})


def test_a_job_that_was_taken_back_once_and_ended_once_is_fine():
    history(GOOD).check()


@pytest.mark.parametrize("moves", [[], LOST, COMMITTED_TWICE, STALE_COMMIT, TWO_WINNERS, REVIVED], ids=str)
def test_what_must_not_happen_is_found(moves):
    with pytest.raises(Exception, match="job"):
        history(moves).check()
