"""How one version's rows differ from another's: asked of a light worker, which reads their prepared rows."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.preview import Comparison
from models.domain.question import CompareVersions
from webapp.actions.ask_worker import answer_of
from webapp.actions.preview_row import prepared_of
from webapp.deps import Deps


def compare_versions(deps: Deps, principal: Principal, before: str, after: str, shown: int = 20) -> Comparison:
    """Both are file ids. Raises NotFound, Conflict where one is not checked yet, Unavailable in time."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        asked = CompareVersions(
            before=prepared_of(store.file(before)), after=prepared_of(store.file(after)), shown=shown
        )  # fmt: skip
    return Comparison.model_validate(answer_of(deps, principal, asked))
