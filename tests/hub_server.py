"""A model hub in miniature, over real HTTP: one model or dataset, ranges, tokens, and connections that break."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """`broken_after` bytes the next answer of a file is cut off, once; `token` None: open to all."""

    def __init__(self, files: dict[str, bytes], token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files
        self.token = token
        self.broken_after: int | None = None
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if self.server.token and self.headers.get("authorization") != f"Bearer {self.server.token}":
            return self._say(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        if self.path.split("?")[0] in (
            "/api/models/org/tiny/revision/main",
            "/api/datasets/org/tiny",
            "/api/datasets/org/tiny/revision/main",
        ):
            return self._say(200, json.dumps(self._info()).encode())
        for prefix in (f"/org/tiny/resolve/{COMMIT}/", f"/datasets/org/tiny/resolve/{COMMIT}/"):
            if self.path.startswith(prefix):
                return self._file(self.server.files[self.path.removeprefix(prefix)])
        return self._say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _info(self) -> dict:
        large = {"sha256": "", "pointerSize": 1}
        siblings = [
            {"rfilename": name, "size": len(data)}
            | (
                {"lfs": large | {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
                if len(data) > 1000
                else {}
            )
            for name, data in self.server.files.items()
        ]
        return {"id": "org/tiny", "sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}}

    def _file(self, data: bytes) -> None:
        wanted = self.headers.get("range")
        self.server.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("content-length", str(len(data) - begin))
        self.end_headers()
        cut, self.server.broken_after = self.server.broken_after, None
        self.wfile.write(data[begin : begin + cut] if cut else data[begin:])
        self.close_connection = True

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (
            {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(files: dict[str, bytes], token: str | None = None) -> Iterator[Hub]:
    with Hub(files, token) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()
