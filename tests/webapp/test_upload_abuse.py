"""S8, scaled: uploads that lie about their length, break off or never come leave nothing behind and cost no memory."""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from models.infra.settings import Settings
from tests.house import ROWS, migrated_sqlite, open_house
from tests.webapp.served import serving

HEAD = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
HEAD += b'--b\r\nContent-Disposition: form-data; name="file"; filename="r.jsonl"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


@pytest.fixture
def served(tmp_path):
    house = open_house(migrated_sqlite(Settings(data_dir=tmp_path / "data", max_upload_bytes=150_000_000)))
    with serving(house) as opened:
        yield opened
    house.client.close()
    house.deps.close()


def call(served, person) -> socket.socket:
    address = urlsplit(served.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def headers(person, length: int) -> bytes:
    return (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.secret}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def answer(line: socket.socket) -> tuple[int, str]:
    told = b""
    while chunk := line.recv(65536):
        told += chunk
        if b"\r\n\r\n" in told and told.rstrip().endswith(b"}"):
            break
    # What was sent beyond the length is a request of its own, which the server refuses behind this answer.
    first, _ = json.JSONDecoder().raw_decode(told.partition(b"\r\n\r\n")[2].decode())
    return int(told.split(b" ", 2)[1]), first["error"]["message"]


def stored(served) -> list[Path]:
    return [path for path in (served.house.deps.settings.data_dir / "storage").rglob("*") if path.is_file()]


def nameless_files() -> int:
    """Temporary files of this process that have no name any more, as an upload on its way is kept."""
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            count += "(deleted)" in os.readlink(each)
    return count


def wait_until(is_so, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


def test_a_gigabyte_is_refused_before_a_byte_of_it_is_sent(served):
    anna = served.house.person()
    with call(served, anna) as line:
        line.sendall(headers(anna, 10**9))
        status, message = answer(line)
    assert status == 413 and "150,000,000 bytes" in message
    assert stored(served) == []


@pytest.mark.parametrize("claimed", [len(HEAD) + 40, 10, 0])
def test_a_length_that_is_too_short_stores_nothing(served, claimed):
    anna = served.house.person()
    with call(served, anna) as line:
        line.sendall(headers(anna, claimed) + HEAD + ROWS * 10 + TAIL)
        status, message = answer(line)
    assert 400 <= status < 500 and message
    assert stored(served) == [] and served.house.client.get("/v1/files", headers=anna.headers).json()["data"] == []


def test_fifty_uploads_that_break_off_leave_neither_files_nor_rows(served):
    anna = served.house.person()
    before = nameless_files()
    lines = [call(served, anna) for _ in range(50)]
    for line in lines:
        line.sendall(headers(anna, 50_000_000) + HEAD + b"x" * 1_300_000)  # past the part that is kept in memory
    assert wait_until(lambda: nameless_files() >= before + 40)  # they are being received
    for line in lines:
        line.close()
    assert wait_until(lambda: nameless_files() <= before)
    assert stored(served) == [] and served.house.client.get("/v1/files", headers=anna.headers).json()["data"] == []
    assert served.house.upload(anna).status_code == 200


def test_a_large_upload_passes_through_a_small_memory(served):
    anna, peak, is_over = served.house.person(), [0], threading.Event()

    def rss() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def watch() -> None:
        while not is_over.wait(0.02):
            peak[0] = max(peak[0], rss())

    chunk = ROWS * 1000
    count = 100_000_000 // len(chunk)

    def body():
        yield HEAD
        for _ in range(count):
            yield chunk
        yield TAIL

    before = rss()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        response = httpx.post(
            f"{served.url}/v1/files", content=body(), timeout=60, trust_env=False,
            headers=anna.headers | {"Content-Type": "multipart/form-data; boundary=b"},
        )  # fmt: skip
    finally:
        is_over.set()
        watcher.join()
    assert response.status_code == 200 and response.json()["bytes"] == count * len(chunk)
    assert peak[0] - before < 60_000_000
