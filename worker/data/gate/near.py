"""Which rows are nearly equal, from their signatures: candidates by banding, verified, joined into groups.

Rows whose signatures agree in one of 20 bands of six bytes are candidates (Leskovec, Rajaraman & Ullman, "Mining of
Massive Datasets", 3.4). At a similarity of 0.8 a pair becomes one with 99.8 %, at 0.5 with 28 %, at 0.3 with 1.5 %; of
candidates, those are joined whose estimated similarity is at least NEAR. A million rows take 120 MB for signatures and
60 MB for the band that is looked at.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from worker.data.gate.minhash import PERMUTATIONS, Signatures, similarity

NEAR = 0.8
BANDS = 20
ROWS_A_BAND = PERMUTATIONS // BANDS
# In a band, rows are compared with the first ones of their bucket: with all others, equal texts would take forever.
COMPARED_A_BUCKET = 8
PAIRS_AT_ONCE = 100_000

Places = NDArray[np.int64]


def near_groups(rows: Signatures, watch: Callable[[int], None] = lambda _: None) -> Places:
    """For each row the place of the first row of its group; its own where nothing is near it.

    Groups are closed: rows near a third one are in one group, even if they are less alike themselves. `watch` is told
    the bands done so far and may raise to stop.
    """
    first = np.arange(len(rows))
    if len(rows) < 2:
        return first
    for band in range(BANDS):
        order, begins = _buckets(band_keys(rows, band))
        for _ in range(COMPARED_A_BUCKET):
            if not len(order):
                break
            sizes = np.diff(np.append(begins, len(order)))
            leaders = np.repeat(order[begins], sizes)
            ones, others = _apart(first, leaders, order)
            is_near = alike(rows, ones, others)
            _join(first, ones[is_near], others[is_near])
            order, begins = _left_over(first, leaders, order, sizes)
        watch(band + 1)
    return first


def band_keys(rows: Signatures, band: int) -> NDArray[np.uint64]:
    """The bytes of one band of each signature as one number."""
    wide = np.zeros((len(rows), 8), dtype=np.uint8)
    wide[:, :ROWS_A_BAND] = rows[:, band * ROWS_A_BAND : (band + 1) * ROWS_A_BAND]
    return wide.view(np.uint64).ravel()


def alike(rows: Signatures, ones: Places, others: Places) -> NDArray[np.bool_]:
    """For each pair of places, whether the two rows are nearly equal."""
    parts = [
        similarity(rows[ones[begin : begin + PAIRS_AT_ONCE]], rows[others[begin : begin + PAIRS_AT_ONCE]]) >= NEAR
        for begin in range(0, len(ones), PAIRS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)


def _buckets(keys: NDArray[np.uint64]) -> tuple[Places, Places]:
    """Places of rows that share their key with another one, bucket after bucket, and where each bucket begins."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_same = ordered[1:] == ordered[:-1]
    goes_on = np.append(is_same, False)
    begins = ~np.append(False, is_same)
    is_shared = goes_on | ~begins
    return order[is_shared], np.flatnonzero(begins[is_shared])


def _apart(first: Places, leaders: Places, order: Places) -> tuple[Places, Places]:
    is_apart = first[leaders] != first[order]
    return leaders[is_apart], order[is_apart]


def _left_over(first: Places, leaders: Places, order: Places, sizes: Places) -> tuple[Places, Places]:
    """What is left of each bucket, without its leader and all that have joined it, where two rows or more are."""
    is_left = first[leaders] != first[order]
    buckets = np.repeat(np.arange(len(sizes)), sizes)[is_left]
    counts = np.bincount(buckets, minlength=len(sizes))
    is_kept = counts[buckets] > 1
    kept = counts[counts > 1]
    return order[is_left][is_kept], np.cumsum(kept) - kept


def _join(first: Places, ones: Places, others: Places) -> None:
    """Union of each pair's groups, in place; the earliest row stands for a group."""
    while True:
        a, b = first[ones], first[others]
        is_apart = a != b
        if not is_apart.any():
            return
        ones, others, a, b = ones[is_apart], others[is_apart], a[is_apart], b[is_apart]
        np.minimum.at(first, np.maximum(a, b), np.minimum(a, b))
        while (first[first] != first).any():
            first[:] = first[first]
