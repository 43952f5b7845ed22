"""The learning rate to start from: by method and width. Judgement, written down once; knows no schedule."""

from models.catalog.methods import METHODS
from models.catalog.methods.base import Rate


def recommended_rate(method: str, hidden_size: int) -> Rate:
    """For a base of this hidden size, trained on answers."""
    return METHODS[method].rate(hidden_size)
