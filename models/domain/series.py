"""Curves of a run made of buckets: neighbouring steps as one, so that 100,000 steps are a thousand points. Pure."""

from collections.abc import Sequence

from models.domain.run import Bucket, Curve

SMOOTHING = 0.9  # of the mean until now, one step later: the last ten steps count most


def points(buckets: Sequence[Bucket]) -> Curve:
    """At most two a bucket: no spike is lost, and none stands further than a bucket beside its own step."""
    found: Curve = []
    for one in buckets:
        found += [(one.first, one.high), (one.last, one.low)] if one.first < one.last else [(one.first, one.high)]
    return found


def smoothed(buckets: Sequence[Bucket], factor: float = SMOOTHING) -> Curve:
    """The exponential mean: each step counts `factor` times as much as the one after it. It begins at the first value.

    A bucket of n steps counts as n times its mean. Divided by the sum of the weights, as Adam's moments are
    (arXiv:1412.6980, section 3), so that the first steps do not hold it back.
    """
    found: Curve = []
    total = weight = 0.0
    for one in buckets:
        kept = factor**one.count
        total, weight = kept * total + (1 - kept) * one.mean, kept * weight + (1 - kept)
        found.append((one.last, total / weight))
    return found


def ratio(upper: Sequence[Bucket], lower: Sequence[Bucket]) -> Curve:
    """Sum over sum of the same buckets, as tokens over seconds; buckets that only one of them has are left out."""
    below = {(one.first, one.last): one.total for one in lower}
    return [(one.last, one.total / seconds) for one in upper if (seconds := below.get((one.first, one.last), 0.0)) > 0]
