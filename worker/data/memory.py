"""A bound on this process's memory while it reads what strangers made: a bomb is then a MemoryError, no more."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POOL = "ARROW_DEFAULT_MEMORY_POOL"
RESERVED_BYTES = 4 * 1024**3


@contextmanager
def bounded_memory(more_bytes: int) -> Iterator[None]:
    """At most so much address space beyond what the process has now; a tighter bound that is there already stays.

    pyarrow's own allocator reserves gigabytes of addresses ahead, and under a bound then finds none at all: so it takes
    the system's, which it can do until it is loaded. Where it is loaded already, what it reserves is allowed for.
    """
    if "pyarrow" in sys.modules and os.environ.get(POOL) != "system":
        more_bytes += RESERVED_BYTES
    os.environ[POOL] = "system"
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space_bytes() + more_bytes
    known = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *known]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
