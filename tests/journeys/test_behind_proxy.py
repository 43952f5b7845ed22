"""Behind a real proxy that ends TLS: the cookie is Secure, the Origin is checked, addresses are believed from it alone.

With a small proxy always, and with nginx by the documentation's own example where it is installed.
"""

import datetime
import http.client
import ipaddress
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from models.db.engine import Database
from models.db.tables import SignIn, User
from models.infra.settings import Settings
from tests.house import migrated_sqlite
from tests.journeys.launched import eventually
from webapp.health import is_healthy
from webapp.processes import bare_environment, tuneroom_command

DOCS = Path(__file__).parents[2] / "docs" / "deployment.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
PERSON, FAR = "127.0.0.2", "127.0.0.3"  # addresses of this machine that are no trusted proxy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """For localhost, signed by itself: (certificate, key)."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return folder / "tls.crt", folder / "tls.key"


@contextmanager
def small_proxy(_folder: Path, certificate: tuple[Path, Path], port: int, inner: int) -> Iterator[None]:
    """Adds what a proxy has to add, and passes on everything else as it came."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            onward = http.client.HTTPConnection("127.0.0.1", inner, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            came_by = [value for value in (self.headers.get("x-forwarded-for"), self.client_address[0]) if value]
            headers |= {"X-Forwarded-For": ", ".join(came_by), "X-Forwarded-Proto": "https"}
            onward.request(self.command, self.path, self.rfile.read(length), headers)
            answer = onward.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for header, value in answer.getheaders():
                if header.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                    self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def nginx(folder: Path, certificate: tuple[Path, Path], port: int, inner: int) -> Iterator[None]:
    """The documentation's example, with this test's addresses and files."""
    if NGINX is None:
        pytest.skip("nginx is not installed here")
    example = re.search(r"```nginx\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    block = example[1].replace("listen 443", f"listen 127.0.0.1:{port}").replace("tuneroom.example.org", "localhost")
    block = block.replace("/etc/ssl/tuneroom.crt", str(certificate[0]))
    block = block.replace("/etc/ssl/tuneroom.key", str(certificate[1])).replace("7860", str(inner))
    places = " ".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{block}\n}}\n"
    )
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")])
    try:
        eventually(lambda: accepts(port))
        yield
    finally:
        process.terminate()
        process.wait(10)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def outside() -> int:
    return free_port()


@pytest.fixture(scope="module")
def web(tmp_path_factory, outside) -> Iterator[tuple[Settings, int, str]]:
    """`tuneroom web` as an administrator would start it, with one person: (settings, port, password)."""
    port = free_port()
    settings = migrated_sqlite(Settings(data_dir=tmp_path_factory.mktemp("web") / "data"))
    told = {
        "TUNEROOM_DATA_DIR": str(settings.data_dir), "TUNEROOM_PUBLIC_URL": f"https://localhost:{outside}",
        "TUNEROOM_TRUSTED_PROXIES": "127.0.0.1", "TUNEROOM_PORT": str(port),
    }  # fmt: skip
    env = bare_environment() | told
    added = subprocess.run(
        tuneroom_command("user", "add", "anna@example.org", "--role", "owner"), env=env, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    process = subprocess.Popen(tuneroom_command("web"), env=env)
    try:
        eventually(lambda: is_healthy(f"http://127.0.0.1:{port}"), 60)
        yield settings, port, added.stdout.splitlines()[-1]
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("proxy", [small_proxy, nginx], ids=["small", "nginx"])
def test_a_person_behind_the_proxy_is_safe_and_known_by_their_own_address(tmp_path, certificate, web, outside, proxy):
    settings, port, password = web
    url = f"https://localhost:{outside}"
    tls = ssl.create_default_context(cafile=str(certificate[0]))
    with proxy(tmp_path, certificate, outside, port):
        through = httpx.Client(transport=httpx.HTTPTransport(verify=tls, local_address=PERSON), base_url=url)
        form = {"email": "anna@example.org", "password": password}
        lie = {"X-Forwarded-For": "6.6.6.6"}
        assert through.post("/login", data=form, headers={"Origin": "https://evil.example"}).status_code == 403
        entered = through.post("/login", data=form, headers={"Origin": url} | lie)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert entered.headers.get_list("set-cookie")
        for cookie in entered.headers.get_list("set-cookie"):
            assert {"secure", "httponly", "samesite=lax"} <= {part.strip().lower() for part in cookie.split(";")}
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in entered.cookies.items())}
        assert through.get("/api/v1/me", headers=cookie).json()["object"] == "me"
        for origin, status in ((None, 403), ("null", 403), ("https://evil.example", 403), (url, 404)):
            headers = cookie | ({"Origin": origin} if origin else {})
            assert through.delete("/api/v1/jobs/job-none", headers=headers).status_code == status, origin
        assert newest_address(settings) == PERSON

    direct = httpx.Client(transport=httpx.HTTPTransport(local_address=FAR), base_url=f"http://127.0.0.1:{port}")
    here = {"Origin": f"http://127.0.0.1:{port}"}
    assert direct.post("/login", data=form, headers=here | lie).status_code == 303
    assert newest_address(settings) == FAR


def newest_address(settings: Settings) -> str:
    database = Database(settings.database)
    try:
        with database.read() as session:
            query = select(SignIn.address).join(User).where(User.email == "anna@example.org")
            return session.scalars(query.order_by(SignIn.created_at.desc()).limit(1)).one()
    finally:
        database.close()
