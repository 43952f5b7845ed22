"""The learning rate to start from: by method and width. Judgement, written down once; knows no schedule."""

from models.catalog.methods import METHODS
from models.catalog.methods.base import Rate
from models.domain.objectives import RATE_OF, Objective


def recommended_rate(method: str, hidden_size: int, objective: Objective = Objective.SUPERVISED) -> Rate:
    """For a base of this hidden size, trained on answers; preferences take a small one, whatever the width."""
    if objective in RATE_OF:
        return Rate(value=RATE_OF[objective], reason=f"of {objective.upper()} on small adapters")
    return METHODS[method].rate(hidden_size)
