"""How much memory this machine has, or the container around us. Knows no settings and no job."""

from pathlib import Path

import psutil

SHARE_OF_HOST = 0.8  # what a worker lets its children take where no limit is set
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def host_bytes() -> int:
    """Memory of this host, or of the container around us."""
    most = psutil.virtual_memory().total
    for path in CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            most = min(most, int(text))
    return most


def memory_limit_bytes() -> int:
    """80 % of this host, or of the container around us."""
    return int(host_bytes() * SHARE_OF_HOST)
