"""S7: sixty names that want to be paths. S8, scaled: uploads that lie about their length, break off or never come.

Whatever is sent as one file or as several: nothing is written but by its hash, and what breaks off leaves nothing.
"""

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

from models.domain.errors import Invalid
from models.infra.settings import Settings
from tests.house import ROWS, migrated_sqlite, open_house
from tests.webapp.served import serving
from webapp.actions.upload_file import clean_name

# S7: each as a whole name, and as a beginning of one that ends well.
PATHS = [
    "../../../../etc/cron.d/x", "..", ".", "/", "/etc/passwd", "//host/share/x", "\\\\host\\share\\x", "C:\\Windows\\x",
    "C:x", "\\\\?\\C:\\x", "..\\..\\x", "....//....//x", "%2e%2e%2fx", "%2e%2e/x", "..%2fx", "%252e%252e%252fx",
    "%c0%ae%c0%ae/x", "%00", "x%00.jsonl", "CON", "NUL", "COM1", "AUX.jsonl", "PRN", "~", "~root/x", "-rf", "--",
    "$(id)", "`id`", ";id", "|id", "&id", "*", "?", "<script>", '"', "'", "%22; filename=x", "\u202egnp",
    "\u2066x\u2069", "\u200bx", "\ufeffx", "\uff0e\uff0e\uff0fx", "\u2024\u2024/x", "\u2215etc", "a" * 4096, "é" * 2000,
    "x" * 255, "....", "...",
    ".htaccess", ".jsonl", "jsonl", "x.jsonl.", "x.jsonl ", "x .jsonl", "/proc/self/environ", "/dev/null",
    "storage/ab/cd",
]  # fmt: skip

HEAD = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
HEAD += b'--b\r\nContent-Disposition: form-data; name="file"; filename="r.jsonl"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
NEXT = b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="s.jsonl"\r\n\r\n'


def form_of(*names: str) -> bytes:
    """A form whose names are sent as they are, byte for byte."""
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode().replace(b'"', b"%22"), ROWS)
        for name in names
    ]
    return HEAD.partition(b'--b\r\nContent-Disposition: form-data; name="file"')[0] + b"".join(parts) + b"--b--\r\n"


def is_harmless(name: str) -> bool:
    return 0 < len(name) <= 200 and name.isprintable() and not set("/\\") & set(name) and name not in (".", "..")


@pytest.mark.parametrize(("ending", "kept"), [("", 4), (".jsonl", 59), ("/x.jsonl", 60), ("\\x.csv.gz", 60)])
def test_a_name_is_refused_or_only_its_last_part_is_kept(ending, kept):
    names = []
    for path in PATHS:
        with suppress(Invalid):
            names.append(clean_name(path + ending))
    assert all(is_harmless(name) for name in names) and len(names) == kept


def test_sixty_names_write_nothing_outside_and_are_only_ever_shown(quick_house, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(PATHS) == 60
    anna, taken = quick_house.person(), 0
    headers = anna.headers | {"Content-Type": "multipart/form-data; boundary=b"}
    for path in PATHS:
        response = quick_house.client.post("/v1/files", content=form_of("ok.jsonl", f"{path}.jsonl"), headers=headers)
        assert response.status_code in (200, 400), (path, response.text)
        if response.status_code == 400:
            assert response.json()["error"]["message"], path
            continue
        taken += 1
        file = quick_house.client.get(f"/v1/files/{response.json()['id']}", headers=anna.headers).json()
        assert all(is_harmless(part["filename"]) for part in file["tuneroom"]["parts"]), file
    assert taken > 50
    content = quick_house.client.get(f"/v1/files/{file['id']}/content?part=2", headers=anna.headers)
    assert content.content == ROWS and content.headers["content-disposition"].startswith("attachment; filename*=")
    home = quick_house.deps.settings.data_dir
    written = [path.relative_to(home / "storage") for path in (home / "storage").rglob("*") if path.is_file()]
    assert all(len(path.name) == 64 and path.parts[0] == "team" for path in written)
    assert {path.name for path in home.iterdir()} <= {"storage", "tuneroom.db", "tuneroom.db-shm", "tuneroom.db-wal",
                                                      "secret.key"}  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


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


def test_fifty_uploads_that_break_off_in_their_second_file_leave_neither_files_nor_rows(served):
    anna = served.house.person()
    before = nameless_files()
    lines = [call(served, anna) for _ in range(50)]
    for line in lines:
        # Past the part of each that is kept in memory.
        line.sendall(headers(anna, 50_000_000) + HEAD + b"x" * 1_300_000 + NEXT + b"x" * 1_300_000)
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
        for number in range(count):
            if number == count // 2:
                yield NEXT
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
