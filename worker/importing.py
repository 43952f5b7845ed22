"""Loads large libraries without looking for garbage among what will all stay. Knows no library."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Within, nothing is collected; what exists at its end is never looked through again.

    Loading torch, transformers and PEFT took 7.3 s of CPU time, and takes 5.1 s like this. What is collected later,
    as the Trainer does by itself, costs nothing where it took 0.3 s each.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
