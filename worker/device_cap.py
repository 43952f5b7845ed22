"""Keeps a process to its share of a GPU's memory. Knows no jobs; loads torch only where there is a GPU to cap."""

from models.domain.device_memory import share_of_device


def cap_device_memory(device: str, cap_bytes: int | None) -> str | None:
    """Make torch refuse, as OutOfMemoryError, what goes beyond the cap. Before the first allocation of the process.

    Returns what was done, for the log; None where no cap was set. Counted is what torch allocates; CUDA's own
    part of a few hundred MB comes on top. Raises Invalid for a cap that the device cannot give.
    """
    if cap_bytes is None:
        return None
    if device == "cpu":
        return "the cap on device memory has no effect on cpu"
    import torch

    _, total_bytes = torch.cuda.mem_get_info(device)
    share = share_of_device(cap_bytes, total_bytes, device)
    torch.cuda.set_per_process_memory_fraction(share, device)
    return f"torch may allocate {cap_bytes} of the {total_bytes} bytes of {device}"
