"""Caps on device memory: what share of a device they are, and which are refused."""

import pytest

from models.domain.device_memory import CUDA_BYTES, LEAST_CAP_BYTES, needed_bytes, share_of_device
from models.domain.errors import Code, Invalid


@pytest.mark.parametrize(
    ("cap", "total", "share"), [(6 * 10**9, 24 * 10**9, 0.25), (24 * 10**9, 24 * 10**9, 1.0), (10**8, 10**9, 0.1)]
)
def test_a_cap_is_a_share_of_its_device(cap, total, share):
    assert share_of_device(cap, total, "cuda:0") == share


@pytest.mark.parametrize(
    ("cap", "words"),
    [(24 * 10**9 + 1, "more than the 24.00 GB of cuda:3"), (LEAST_CAP_BYTES - 1, "too little"), (0, "too little")],
)
def test_a_cap_that_the_device_cannot_give_is_refused_with_both_figures(cap, words):
    with pytest.raises(Invalid) as caught:
        share_of_device(cap, 24 * 10**9, "cuda:3")
    assert caught.value.code is Code.INVALID_SETTING
    assert words in caught.value.message and "TUNEROOM_DEVICE_MEMORY_BYTES" in caught.value.message


def test_processes_on_one_device_need_their_caps_and_cudas_own_part_each():
    assert needed_bytes([8 * 10**9, 4 * 10**9]) == 12 * 10**9 + 2 * CUDA_BYTES
