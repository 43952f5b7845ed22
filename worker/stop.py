"""The one flag between a signal handler and a job's story. Knows nothing of signals or jobs."""

import threading


class Stop:
    """Set once, never cleared. A story looks between steps and ends at the next safe place."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        self._event.set()

    def asked(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep up to `seconds`; True at once when a stop is asked."""
        return self._event.wait(seconds)
