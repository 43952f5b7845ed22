"""Imports Gradio without the type stubs that it writes for each of its components, every time. Knows no page.

For them it reads, parses and renders the source of each component: 1.2 of the 1.9 s of CPU time that its import takes.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_WRITER = "gradio.component_meta"


@contextmanager
def without_stubs() -> Iterator[None]:
    """Within, an import of Gradio finds its writer of stubs doing nothing; one that is loaded already stays."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _WRITER else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_without_writer(module: ModuleType) -> None:
            load(module)
            vars(module)["create_or_modify_pyi"] = lambda *_component: None

        spec.loader.exec_module = load_without_writer  # type: ignore[method-assign]
        return spec
