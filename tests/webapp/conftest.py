"""The web side's fixtures."""

import webapp.mounting  # noqa: F401 - before a test imports Gradio itself, which takes a second longer
from tests.house import house, quick_house

__all__ = ["house", "quick_house"]
