"""Caps on the memory of a GPU that several processes share: the arithmetic. Knows no torch and no settings."""

from models.domain.errors import Code, Invalid

LEAST_CAP_BYTES = 10**8
CUDA_BYTES = 500 * 10**6
"""What CUDA itself takes in each process, beside what the cap counts: about 300 MB and more (pytorch#107667)."""


def share_of_device(cap_bytes: int, total_bytes: int, device: str) -> float:
    """The fraction of the device's memory that the cap allows, above 0 and at most 1.

    Raises Invalid, code `invalid_setting`, for a cap that is too small to compute in or larger than the device.
    """
    if cap_bytes < LEAST_CAP_BYTES:
        raise _refused(f"{_gb(cap_bytes)} is too little to compute in; give it {_gb(LEAST_CAP_BYTES)} or more")
    if cap_bytes > total_bytes:
        raise _refused(f"{_gb(cap_bytes)} is more than the {_gb(total_bytes)} of {device}; lower it or leave it out")
    return cap_bytes / total_bytes


def needed_bytes(caps_bytes: list[int]) -> int:
    """What processes with these caps may take of one device together, CUDA's own part included."""
    return sum(caps_bytes) + CUDA_BYTES * len(caps_bytes)


def _refused(why: str) -> Invalid:
    return Invalid(
        f"The cap on device memory of this worker cannot be kept: {why} "
        "(TUNEROOM_DEVICE_MEMORY_BYTES for jobs, TUNEROOM_CHAT_DEVICE_MEMORY_BYTES for chat).",
        code=Code.INVALID_SETTING,
    )


def _gb(count: int) -> str:
    return f"{count / 10**9:.2f} GB"
