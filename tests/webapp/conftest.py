"""The web side's fixtures."""

from tests.house import house, quick_house

__all__ = ["house", "quick_house"]
