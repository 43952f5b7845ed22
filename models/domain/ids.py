"""Public ids: a prefix that says what it is, then 26 Crockford characters that sort by time."""

import os
import time
from typing import NewType

UserId = NewType("UserId", str)
TeamId = NewType("TeamId", str)
KeyId = NewType("KeyId", str)
WorkerId = NewType("WorkerId", str)
BaseId = NewType("BaseId", str)
DatasetId = NewType("DatasetId", str)
FileId = NewType("FileId", str)  # one immutable dataset version, and OpenAI's file id
JobId = NewType("JobId", str)
AdapterId = NewType("AdapterId", str)
MergeId = NewType("MergeId", str)
SignInId = NewType("SignInId", str)
LinkId = NewType("LinkId", str)
ReportId = NewType("ReportId", str)  # what one stage found in one dataset version
Sha256 = NewType("Sha256", str)  # 64 lower-case hex digits

PREFIXES = {
    UserId: "user", TeamId: "team", KeyId: "key", WorkerId: "worker", BaseId: "base", DatasetId: "dataset",
    FileId: "file", JobId: "ftjob", AdapterId: "adapter", MergeId: "merge",
    SignInId: "signin", LinkId: "link", ReportId: "report",
}  # fmt: skip
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`prefix-` + 48 bits of milliseconds + 80 random bits, base 32: unique without asking anyone."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    digits = []
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}-{''.join(reversed(digits))}"
