"""Keeps this process from connecting to anything but the internet and the hosts that the administrator named.

An audit hook sees the address of every connection that Python makes, after names were resolved and redirects were
followed, and cannot be taken away again.
"""

import ipaddress
import socket
import sys
from typing import Any

from models.domain.addresses import is_public, refuse


def stand(hosts: frozenset[str]) -> None:
    """From now on until the process ends."""
    known: dict[str, frozenset[str]] = {}

    def is_named(address: str) -> bool:
        for host in hosts:
            if host not in known:
                known[host] = _addresses_of(host)
            if address in known[host]:
                return True
        return False

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("socket.connect", "socket.sendto"):
            return
        opened, address = arguments[0], arguments[1]
        if opened.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
            return
        host = str(address[0])
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise refuse(host) from None  # a name here would be resolved after we looked
        if not is_public(host) and not is_named(host):
            raise refuse(host)

    sys.addaudithook(look)


def _addresses_of(host: str) -> frozenset[str]:
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(host, None))
    except OSError:
        return frozenset()
