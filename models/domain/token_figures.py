"""What a count of tokens means for one training: sequences, tokens and the longest row under its settings.

Pure arithmetic over reports (`models.domain.reports.TokenReport`) of the sources of a mix. Knows no files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.domain.reports import Length, TokenReport
from models.domain.training import OverLong


@dataclass(frozen=True, kw_only=True)
class TokenFigures:
    """Of one epoch: `sequences`, `tokens` and those with loss. Of the datasets: `too_long` of `counted` sequences.

    `longest` is the longest that is trained on, `longest_share` the largest share of trained tokens among sequences
    of half its length or more: what a forward pass has to hold. `lengths` are (tokens, sequences of an epoch).
    """

    sequences: int
    tokens: int
    trained_tokens: int
    longest: int
    longest_share: float
    counted: int
    too_long: int
    lengths: tuple[tuple[int, int], ...] = ()

    def shortened(self, max_length: int) -> "TokenFigures":
        """As if no sequence were longer: what becomes of the longer ones, these are the most tokens that stay."""
        lengths = tuple((min(tokens, max_length), count) for tokens, count in self.lengths)
        return replace(self, lengths=lengths, longest=min(self.longest, max_length))


def token_figures(
    reports: Sequence[TokenReport], trained_rows: Sequence[int], *, max_length: int, over_long: OverLong,
    are_texts: Sequence[bool],
) -> TokenFigures:  # fmt: skip
    """`trained_rows` are the rows that an epoch shows of each source, before its too long ones are left out.

    Where oldest turns are dropped the figures are an upper bound: how much of such a row stays is not known before.
    """
    used = [
        [_used(one, max_length, over_long, is_text) for one in report.lengths]
        for report, is_text in zip(reports, are_texts, strict=True)
    ]
    shares = [rows / max(1, report.rows) for rows, report in zip(trained_rows, reports, strict=True)]
    together = [one for lengths in used for one in lengths if one.sequences]
    longest = max((one.tokens for one in together), default=0)
    high = [one for one in together if one.tokens >= longest / 2 and one.total_tokens]
    return TokenFigures(
        sequences=_scaled(used, shares, "sequences"),
        tokens=_scaled(used, shares, "total_tokens"),
        trained_tokens=_scaled(used, shares, "trained_tokens"),
        longest=longest,
        longest_share=max((one.trained_tokens / one.total_tokens for one in high), default=1.0),
        counted=sum(report.sequences for report in reports),
        too_long=sum(one.sequences for report in reports for one in report.lengths if one.tokens > max_length),
        lengths=tuple(
            (one.tokens, math.ceil(share * one.sequences))
            for lengths, share in zip(used, shares, strict=True) for one in lengths if one.sequences and share
        ),
    )  # fmt: skip


def _used(one: Length, max_length: int, over_long: OverLong, is_text: bool) -> Length:
    """The same sequences as they are trained on."""
    if one.tokens <= max_length:
        return one
    match over_long:
        case OverLong.SPLIT_TEXT if is_text:
            return one.model_copy(
                update={"tokens": max_length, "sequences": one.sequences * math.ceil(one.tokens / max_length)}
            )
        case OverLong.DROP_OLDEST_TURNS if not is_text:
            kept = max_length / one.tokens
            return one.model_copy(
                update={
                    "tokens": max_length,
                    "total_tokens": one.sequences * max_length,
                    "trained_tokens": round(one.trained_tokens * kept),
                }
            )
        case _:
            return one.model_copy(update={"sequences": 0, "total_tokens": 0, "trained_tokens": 0})


def _scaled(used: Sequence[Sequence[Length]], shares: Sequence[float], name: str) -> int:
    return round(
        sum(share * sum(getattr(one, name) for one in lengths) for lengths, share in zip(used, shares, strict=True))
    )
