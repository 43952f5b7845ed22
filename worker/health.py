"""Says whether the worker of a lane lives on this machine, for containers: `python -m worker.health LANE`."""

import socket
import sys

from models.db.engine import Database
from models.db.store.system import SystemStore
from models.domain.errors import Unavailable
from models.domain.job import Lane
from models.infra.broker import Broker
from models.infra.settings import Settings


def faults(settings: Settings, lane: Lane) -> list[str]:
    """What is wrong, a sentence each; empty when the worker was seen within a lease and the broker answers."""
    found = []
    database, broker = Database(settings.database), Broker(settings)
    try:
        with database.read() as session:
            seen = SystemStore(session).workers(settings.lease_seconds)
        here = [worker for worker in seen if worker.lane == lane and worker.host == socket.gethostname()]
        if not here:
            found.append(
                f"No worker of the lane {lane} was seen on this machine within {settings.lease_seconds:.0f} s."
            )
        if not broker.is_alive():
            found.append("The queue's broker does not answer.")
    except Unavailable as error:
        found.append(error.message)
    finally:
        broker.close()
        database.close()
    return found


if __name__ == "__main__":
    sentences = faults(Settings(), Lane(sys.argv[1]))
    print("\n".join(sentences) or "healthy")
    sys.exit(1 if sentences else 0)
