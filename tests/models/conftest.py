"""A whole installation, for what looks after one."""

from tests.house import house

__all__ = ["house"]
