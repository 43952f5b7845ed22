"""Loads large libraries without looking for garbage among what will all stay, and compiles nothing of theirs.

Knows no library but the one module whose functions torch would compile while it is loaded.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_COMPILES = "bitsandbytes.backends.default.ops"


@contextmanager
def importing() -> Iterator[None]:
    """Within, nothing is collected; what exists at its end is never looked through again.

    Loading torch, transformers and PEFT took 7.3 s of CPU time, and takes 5.1 s like this. What is collected later,
    as the Trainer does by itself, costs nothing where it took 0.3 s each. What
    bitsandbytes wants compiled is compiled when it is first called, on most machines never: torch's compiler is 600
    modules, 50 MB and 0.7 of another 4.1 s.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        gc.freeze()
        gc.enable()


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _COMPILES else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_uncompiled(module: ModuleType) -> None:
            import torch

            compile_now = torch.compile
            torch.compile = compiled_later  # type: ignore[assignment]
            try:
                load(module)
            finally:
                torch.compile = compile_now

        spec.loader.exec_module = load_uncompiled  # type: ignore[method-assign]
        return spec


def compiled_later(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`torch.compile(function, **options)`, at its first call."""
    compiled: list[Callable[..., Any]] = []

    @wraps(function)
    def at_first_call(*args: Any, **kwargs: Any) -> Any:
        if not compiled:
            import torch

            compiled.append(torch.compile(function, **options))
        return compiled[0](*args, **kwargs)

    return at_first_call
