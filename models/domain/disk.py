"""What a job leaves on its worker's disk before it ends, counted from shapes. Knows no disk."""

from models.domain.merging import StorageDtype

CHECKPOINT_BYTES = 3 * 4  # per trained parameter, float32: the weight and AdamW's two moments
WEIGHT_BYTES = {StorageDtype.BF16: 2, StorageDtype.FP32: 4}
OTHER_BYTES = 5 * 10**6  # tokenizer, state of the schedule, events, log


def training_bytes(trainable: int) -> int:
    """Two checkpoints, one sealed and one being written, and the adapter in float32."""
    return trainable * (2 * CHECKPOINT_BYTES + 4) + OTHER_BYTES


def merge_bytes(parameters: int, storage: StorageDtype) -> int:
    """Every weight of the merged model."""
    return parameters * WEIGHT_BYTES[storage] + OTHER_BYTES


def no_room(free_bytes: int, needed_bytes: int, what: str) -> str | None:
    """A sentence where they do not fit; `what` says what the bytes are for."""
    if free_bytes >= needed_bytes:
        return None
    return (
        f"{what} need {needed_bytes / 1e6:,.0f} MB of disk and {free_bytes / 1e6:,.0f} MB are free. "
        "Free some space; it goes on by itself."
    )
