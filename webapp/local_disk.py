"""Refuses to keep an SQLite database on a network file system, where its locks are not to be trusted."""

from collections.abc import Iterable
from pathlib import Path

import psutil

from models.domain.errors import Code, Invalid

NETWORK = frozenset({"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "lustre", "ncpfs",
                     "nfs", "nfs4", "smb3", "smbfs"})  # fmt: skip


def check_local_disk(data_dir: Path) -> None:
    """Raises Invalid naming the file system. An unknown kind is let pass."""
    kind = kind_at(data_dir, [(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions(all=True)])
    if kind in NETWORK:
        raise Invalid(
            f"{data_dir} lies on a network file system ({kind}), where SQLite loses data. Choose a local --data-dir, "
            "or keep the database in PostgreSQL with TUNEROOM_DATABASE_URL.",
            code=Code.INVALID_SETTING,
        )


def kind_at(path: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """The kind of the innermost file system around `path`, of (place, kind) in the order of mounting; "" for none."""
    innermost, kind_found = "", ""
    for place, kind in mounts:
        if path.is_relative_to(place) and len(place) >= len(innermost):  # a later mount hides an earlier one
            innermost, kind_found = place, kind
    return kind_found
