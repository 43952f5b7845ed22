"""What a source says about itself, beside its weights."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Found:
    licence: str | None
    title: str | None
    remark: str | None
