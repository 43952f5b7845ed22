"""The socket that `tuneroom up` hands to the web process sends each part of an answer at once."""

import asyncio
import os
import socket

import pytest

from webapp.serve import inherited


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_waits_for_no_acknowledgement_between_its_parts(host):
    """Nagle's algorithm is off on every connection: 40 ms for each answer, and for each token of a streamed one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listening:
        assert asyncio.run(_is_sent_at_once(inherited(os.dup(listening.fileno()))))


async def _is_sent_at_once(listening: socket.socket) -> bool:
    found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    class Seen(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            found.set_result(bool(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            transport.close()

    async with await asyncio.get_running_loop().create_server(Seen, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        writer.close()
        return await found
