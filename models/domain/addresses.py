"""Which addresses of the network a team may make this installation speak to. Pure: resolves no name.

Whoever enters the address of a server must not reach what only this machine reaches: its own services, its network,
a cloud's metadata (S16). The administrator may name hosts that are meant all the same.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from models.domain.errors import Forbidden

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """An IP address that means the same machine from everywhere. What is no address is not public."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast


def host_of(url: str) -> str:
    """The host of an address, lower case."""
    return (urlsplit(url).hostname or "").rstrip(".").lower()


def hosts_named(setting: str) -> frozenset[str]:
    """A comma-separated setting as a set of hosts."""
    return frozenset(host.strip().rstrip(".").lower() for host in setting.split(",") if host.strip())


def refuse(host: str) -> Forbidden:
    """The error for an address that is not for everybody."""
    return Forbidden(
        f"{host} is an address inside this network, and only servers on the internet may be entered. An administrator "
        "who trusts it adds its name to TUNEROOM_TRACKER_HOSTS."
    )


def check_literal(url: str, allowed: Collection[str]) -> None:
    """Raise Forbidden where the host can be seen to be private without asking anybody; the rest is seen at connect."""
    host = host_of(url)
    if host in allowed:
        return
    try:
        ipaddress.ip_address(host.partition("%")[0])
        is_number = True
    except ValueError:
        is_number = host.replace(".", "").isdigit() or host.startswith("0x")  # 2130706433 is 127.0.0.1 to many
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host.strip("[]"):
        if not (is_number and is_public(host)):
            raise refuse(host)
    elif is_number and not is_public(host):
        raise refuse(host)
