"""How a kept process learns that its keeper is gone: its stdin, a pipe from the keeper, ends. Knows no other signal.

It works on every system and after kill -9 of the keeper, where no signal is sent.
"""

import os
import signal
import threading
from collections.abc import Callable

KEPT = "TUNEROOM_KEPT"  # the keeper sets it; started by hand, stdin belongs to a person and says nothing
STDIN = 0


def when_keeper_ends(stop: Callable[[], None]) -> None:
    """Call `stop` once, from a thread, when the keeper that started this process is gone. By hand: never."""
    if os.environ.get(KEPT) == "1":
        threading.Thread(target=_wait, args=(stop,), name="lifeline", daemon=True).start()


def end_with_keeper() -> None:
    """SIGTERM to ourselves when the keeper is gone: the same polite end as a stop by hand."""
    when_keeper_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))


def _wait(stop: Callable[[], None]) -> None:
    while os.read(STDIN, 1024):
        pass
    stop()
