"""Lets transformers open a GGUF file as often as it likes and parses it once. Knows files, no model.

Loading one model parses the whole vocabulary four times, value by value in Python, and builds the table of tensor
names anew for every module of the model: 15 of the 20 seconds that a conversion took. Both are pure readings.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gguf
import numpy as np


class _Reader(gguf.GGUFReader):
    """Slices a plain array over the mapped file: a slice of a memmap is several times dearer, and there are 10^5."""

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, mapped: np.memmap) -> None:
        self._data = mapped.view(np.ndarray)


@contextmanager
def parsed_once() -> Iterator[None]:
    """Within, gguf's reader and its table of names are made once per argument. Raises what they raise."""
    reader, name_map = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = functools.cache(_Reader), functools.cache(name_map)  # type: ignore
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, name_map
