"""The wall of a process that speaks to trackers: no connection into this network, whatever name led there."""

import socket
import subprocess
import sys
import threading

import pytest

from models.domain.addresses import is_public

TRY = """
import socket, sys
from worker.trackers.wall import stand
stand(frozenset(sys.argv[2:]))
import http.client
name = sys.argv[1]
if name == "rebound":
    found = socket.getaddrinfo
    def rebound(host, port, *more, **named):
        return found("127.0.0.1", port, *more, **named)
    socket.getaddrinfo = rebound
    name = "tracker.example"
try:
    connection = http.client.HTTPConnection(name, PORT, timeout=5)
    connection.connect()
    print("connected")
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture
def listener():
    """A port of this machine, and how many came."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            try:
                while True:
                    came.append(server.accept())
            except OSError:
                return

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], came


def attempt(port: int, host: str, *named: str) -> str:
    command = [sys.executable, "-c", TRY.replace("PORT", str(port)), host, *named]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "::ffff:127.0.0.1", "rebound"])
def test_nothing_inside_is_reached_by_address_name_or_a_name_that_changed(listener, host):
    port, came = listener
    assert attempt(port, host) == "Forbidden"
    assert came == []


def test_a_host_that_the_administrator_named_is_reached(listener):
    port, came = listener
    assert attempt(port, "localhost", "localhost") == "connected"
    assert came


def test_private_shared_and_wrapped_addresses_are_not_public():
    private = (
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "fe80::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "2002:a00:1::", "no address",
    )  # fmt: skip
    assert [address for address in private if is_public(address)] == []
    assert all(is_public(address) for address in ("93.184.216.34", "2606:4700::1111"))
