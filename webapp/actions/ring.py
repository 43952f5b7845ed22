"""Wakes a lane after a commit. The row is the record: a bell that fails costs time, never a job (promise P1)."""

import structlog

from models.domain.errors import Unavailable
from models.domain.job import Lane
from models.infra.broker import Broker

log = structlog.get_logger()


def ring(broker: Broker, lane: Lane) -> None:
    """Never raises: the sweep rings again."""
    try:
        broker.ring(lane)
    except Unavailable as error:
        log.warning("lane not rung", lane=lane.value, reason=error.message)
