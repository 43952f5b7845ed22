"""The text side of an imported base (tokenizer, templates, settings) as a folder, for a process that renders rows."""

from pathlib import Path

from models.domain.access import Principal
from models.domain.errors import NotFound
from webapp.actions.show_models import list_bases
from webapp.deps import Deps

WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")


def bring_texts(deps: Deps, principal: Principal, name_or_id: str, folder: Path) -> str:
    """Copy everything but the weights to `folder`, verified; the base's name. Raises NotFound naming the known ones."""
    bases = list_bases(deps, principal)
    found = next((base for base in bases if name_or_id in (base.name, base.id)), None)
    if found is None:
        known = ", ".join(base.name for base in bases) or "none yet; `tuneroom base add` imports one"
        raise NotFound(f"There is no base model {name_or_id}. Known ones: {known}. A folder can be named as well.")
    for file in deps.storage.listing(found.tree).files:
        if not file.path.endswith(WEIGHTS) and ".." not in Path(file.path).parts:
            deps.storage.fetch_file(found.tree.scope, file.sha256, folder / file.path.lstrip("/"))
    return found.name
