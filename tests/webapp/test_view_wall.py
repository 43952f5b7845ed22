"""Gradio is a view and never our wall: S1 files, S2 sessions of others, S3 the anonymous sweep, S17 other sites.

Everything here runs over the live application with all its pages, so that a new page or event is covered by itself.
"""

import itertools
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import gradio as gr
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from models.db.tables import Base
from models.domain.access import Role
from tests.furnished import furnish
from tests.webapp.test_guard import METHODS, addresses
from tests.webapp.view import HASH, JOIN, PREDICT, View, ask_all, event, told, viewing
from webapp.pages import all_pages
from webapp.pages.wiring import caller, on
from webapp.routes.guard import ANONYMOUS, OPEN_TO_ALL
from webapp.routes.view_wall import OPEN_GET, OPEN_POST

KNOWN_INPUTS = {
    "textbox", "dropdown", "number", "checkbox", "checkboxgroup", "slider", "radio", "state", "code", "html", "timer",
}  # fmt: skip
"""Kinds of input that never stand for a file. A new kind is looked at before it is added."""


MARKS = ("northwind", "support-tone", "contract-notes", "anna.berg", "parcel")
OWN_TABLES = {"sign_ins", "conversations", "messages", "api_keys", "invitations"}  # a stranger's own rows


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    with viewing(tmp_path_factory.mktemp("view")) as opened:
        yield opened


# S1: no file of the machine through any event.


def file_shapes(path: str) -> list[Any]:
    """Every way to name a file that one of Gradio's components understands, and nestings of it."""
    meta = {"_type": "gradio.FileData"}
    full = {"path": path, "meta": meta, "orig_name": "x.txt", "size": 1, "mime_type": "text/plain", "is_stream": False}
    return [
        full,
        {"path": path},
        {"path": path, "meta": meta},
        {"path": path, "url": f"/gradio_api/file={path}", "meta": meta},
        {"path": "x", "url": f"file://{path}", "meta": meta},
        {"path": path, "meta": meta, "is_stream": True},
        {"path": None, "url": f"file://{path}", "orig_name": "x"},
        {"url": f"file://{path}", "meta": meta},
        [full],
        [[full]],
        {"value": full},
        {"text": "", "files": [full]},
        {"image": full, "caption": "x"},
        {"video": full, "subtitles": None},
        {"background": full, "layers": [full], "composite": full},
        [{"role": "user", "content": full}],
        [{"role": "user", "content": {"file": full, "alt_text": None}}],
        {"headers": ["a"], "data": [[full]], "metadata": None},
        {"a": [{"b": {"c": [full]}}]},
        json.loads('{"x":' * 90 + json.dumps(full) + "}" * 90),
    ]


def private_files(view: View, folder: Path) -> dict[str, bytes]:
    """Path -> bytes that must not be seen anywhere."""
    data_dir = view.house.deps.settings.data_dir
    key = folder / "key"
    key.write_bytes(b"a key that nobody may read")
    database = next(path for path in data_dir.iterdir() if path.name.endswith(".db"))
    return {"/etc/passwd": b"root:", str(database): b"SQLite format 3", str(key): key.read_bytes()}


def test_no_event_takes_a_kind_of_input_that_could_carry_a_file(view):
    kinds = {block.get_block_name() for fn in view.fns.values() for block in fn.inputs}
    assert kinds <= KNOWN_INPUTS


def test_a_file_named_to_any_event_is_refused(view, tmp_path):
    """S1. The count makes sure that every event of every page was asked in every way."""
    fns, files, cached = view.fns.values(), private_files(view, tmp_path), files_in_cache()
    assert len(fns) == len(view.gradio.get_blocks().config["dependencies"]) >= 2 * len(all_pages())
    shapes = [file_shapes(path) for path in files]
    asked = []
    every = [(fn, address) for fn in fns for address in (PREDICT, JOIN)]
    for (fn, address), some in zip(every, itertools.cycle(shapes)):
        asked += [("POST", address, event(fn._id, [shape] * max(1, len(fn.inputs)))) for shape in some]
        asked += [("POST", address, event(fn._id, [None] * len(fn.inputs), event_data=some[0]))]
    answers = ask_all(view.wall, view.house.person(Role.OWNER), asked)
    assert len(answers) == len(fns) * 2 * (len(file_shapes("x")) + 1)
    assert {answer.status_code for answer in answers} == {404}
    assert not [answer for answer in answers for secret in files.values() if secret in answer.content]
    assert files_in_cache() == cached


def test_the_same_over_the_network(view):
    """The whole way once for every event: guard, limits and wall."""
    shape = file_shapes("/etc/passwd")[0]
    with view.browser(view.house.person(Role.OWNER)) as browser:
        for fn, address in zip(view.fns.values(), itertools.cycle((PREDICT, JOIN))):
            answer = browser.post(address, json=event(fn._id, [shape] * max(1, len(fn.inputs))))
            assert (answer.status_code, b"root:" in answer.content) == (404, False)


def test_a_file_is_refused_in_every_place_of_a_body(view):
    asked = []
    for shape, address in itertools.product(file_shapes("/etc/passwd"), (PREDICT, JOIN, *OPEN_POST)):
        bodies = [
            event(0, [shape]), event(0, ["x", shape]), event(0, [], event_data={"value": shape}),
            event(0, [], more=shape), event(0, shape), {"data": [shape]}, [event(0, [shape])], [shape], shape,
        ]  # fmt: skip
        asked += [("POST", address, body) for body in bodies]
    assert {answer.status_code for answer in ask_all(view.wall, view.house.person(), asked)} == {404}


def test_a_path_as_a_plain_text_opens_nothing(view, tmp_path):
    files = private_files(view, tmp_path)
    with view.browser(view.house.person()) as browser:
        for fn, (path, secret) in zip(view.fns.values(), itertools.cycle(files.items())):
            answer = browser.post(PREDICT, json=event(fn._id, [path] * len(fn.inputs), session_hash="plaintext"))
            assert secret not in answer.content, (fn._id, path)


def test_without_the_wall_gradio_itself_refuses_files_it_does_not_own(view, tmp_path):
    """The second wall: its check is on only once `has_launched` is set, which a mounted app does not do by itself."""
    secret = tmp_path / "secret.txt"
    secret.write_text("a key that nobody may read")
    shape = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    bare = TestClient(view.gradio, raise_server_exceptions=False)
    takers = [fn for fn in view.fns.values() if any(not block.stateful for block in fn.inputs)]
    cached = files_in_cache()
    for fn in takers:
        answer = bare.post(PREDICT, json=event(fn._id, [shape] * len(fn.inputs)))
        assert answer.status_code == 500 and b"nobody may read" not in answer.content
        assert str(tmp_path) not in answer.text
    assert files_in_cache() == cached
    blocks = view.gradio.get_blocks()
    assert blocks.has_launched


def files_in_cache() -> set[Path]:
    from gradio.utils import get_upload_folder

    folder = Path(get_upload_folder())
    assert folder.is_relative_to(tempfile.gettempdir()) or folder.is_absolute()
    return {path for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


def test_a_stranger_calls_every_event_with_ids_of_another_team_and_learns_nothing(tmp_path):
    """S4 behind the pages: each handler asks who calls, whatever its hidden inputs and its page's address name."""
    with viewing(tmp_path) as view:
        made = furnish(view.house)
        stranger = view.house.person(Role.OWNER, view.house.team("others"))
        before, learned = everything(view), set()
        ids = (made.run, made.adapter, made.merge, made.dataset, made.conversation)
        with view.browser(made.owner) as browser:
            seen = browser.post(PREDICT, params={"id": made.run}, json=event(_load(view, "run"), [None], "anna"))
            assert "support-tone" in seen.text  # who may, sees it: the words below are the right ones to look for
        with view.browser(stranger) as browser:
            for fn, named in zip(view.fns.values(), itertools.cycle(ids)):
                for address in {named, ids[fn._id % 3]}:
                    body = event(fn._id, [named] * len(fn.inputs), "stranger")
                    answer = browser.post(PREDICT, params={"id": address, "conversation": address}, json=body)
                    learned |= {word for word in MARKS if word in answer.text}
        assert learned == set()
        after = everything(view)
        assert {name for name in before if before[name] != after[name]} <= OWN_TABLES


def _load(view: View, page: str) -> int:
    """The event that fills a page when it opens, other than its top bar."""
    return max(
        fn._id for fn in view.fns.values() if fn.page == page and any(event == "load" for _, event in fn.targets)
    )


# S3: what exists for whom.


def view_addresses(view: View) -> set[str]:
    """Every route of Gradio's own application, with its parameters filled in."""
    return set(addresses(view.gradio))


def test_a_signed_in_person_reaches_only_the_routes_that_pages_need(view):
    allowed = {("GET", path) for path in {page.path for page in all_pages()} | set(OPEN_GET)}
    allowed |= {("POST", path) for path in OPEN_POST}
    allowed |= {("GET", "/theme.css"), ("GET", "/gradio_api/heartbeat/session_hash")}
    routes = addresses(view.gradio)
    assert len(routes) > 70 and {page.path for page in all_pages()} <= set(routes)
    asked = [(method, path, None) for path in routes for method in METHODS if (method, path) not in allowed]
    for answer in ask_all(view.wall, view.house.person(Role.OWNER), asked):
        assert answer.status_code == 404, answer.request


def test_nobody_gets_past_the_door_with_pages_mounted(view):
    """S3: every route of ours and of Gradio's, every method, without a sign-in."""
    routes = {*addresses(view.house.client.app), *addresses(view.gradio), *(page.path for page in all_pages())}
    asked = 0
    for path, method in itertools.product(sorted(routes), METHODS):
        if (path in ANONYMOUS and method in ("GET", "HEAD")) or OPEN_TO_ALL.fullmatch(path):
            continue
        answer = view.house.client.request(method, path)
        assert answer.status_code == 401, (method, path)
        asked += 1
    assert asked > 8 * 120


def test_what_is_open_to_all_tells_nothing_to_a_made_up_token(view):
    """The other half of the sweep: link, invitation and setup addresses answer nobody's token with 404 or 403."""
    for path in addresses(view.house.client.app):
        if OPEN_TO_ALL.fullmatch(path) and path != "/login":
            for method in ("GET", "POST", "DELETE"):
                assert view.house.client.request(method, path).status_code in (403, 404, 405), (method, path)


# S2: another person's page.


SECRET = "what only the first person may read"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """A page with one long answer and one that remembers, behind the same wall."""
    with gr.Blocks() as demo:
        pass
    with demo.route("Slow", "/slow"):
        field, kept, start, recall = gr.Textbox(), gr.State(""), gr.Button(), gr.Button()

        async def count(text: str, request: gr.Request):
            for number in range(40):
                yield f"{SECRET} {number} {caller(request).user}", text
                await anyio.sleep(0.05)

        on(start.click, count, field, [field, kept], is_long=True)
        on(recall.click, lambda kept: kept, kept, field)
    with viewing(tmp_path_factory.mktemp("slow"), demo, ("/slow",)) as opened:
        yield opened


def test_a_page_of_somebody_else_does_not_exist(slow):
    """S2: with everything of A's page in hand, B reads nothing, ends nothing and recalls nothing."""
    anna, bert = slow.house.person(), slow.house.person()
    start, recall = sorted(slow.fns)
    stream = f"/gradio_api/queue/data?session_hash={HASH}"
    with slow.browser(anna) as a, slow.browser(bert) as b:
        event_id = a.post(JOIN, json=event(start, ["kept by A"])).json()["event_id"]
        cancel = {"session_hash": HASH, "fn_index": start, "event_id": event_id}
        with a.stream("GET", stream) as streaming:
            messages = told(streaming)
            assert SECRET in str([next(messages) for _ in range(4)])
            stolen = [
                b.get(stream),
                b.get(f"/gradio_api/queue/data?session_hash=mine&session_hash={HASH}"),
                b.get(f"/gradio_api/queue/data?session_hash={HASH}&session_hash=mine"),
                b.get(f"/gradio_api/heartbeat/{HASH}"),
                b.get(f"/gradio_api/call/x/{event_id}"),
                b.post(PREDICT, json=event(recall, [None])),
                b.post(JOIN, json=event(start, ["B's"])),
                b.post("/gradio_api/cancel", json=cancel),
                b.post("/gradio_api/cancel", json=cancel | {"session_hash": "mine"}),
                b.post("/gradio_api/reset", json={"event_id": event_id, "session_hash": HASH}),
                b.post("/gradio_api/reset", json={"event_id": event_id, "session_hash": "mine"}),
                b.post(PREDICT, json=event(recall, [None], session_hash="mine", event_id=event_id)),
            ]
            rest = list(messages)
        assert [answer.status_code for answer in stolen] == [404] * 8 + [200] * 4
        assert not [answer for answer in stolen if SECRET in answer.text or "kept by A" in answer.text]
        assert rest[-2]["msg"] == "process_completed" and f"{SECRET} 39" in str(rest)
        assert "kept by A" in a.post(PREDICT, json=event(recall, [None])).text


def test_its_owner_stops_it(slow):
    with slow.browser(slow.house.person()) as a:
        begun = event(min(slow.fns), [""], session_hash="stopping")
        event_id = a.post(JOIN, json=begun).json()["event_id"]
        with a.stream("GET", "/gradio_api/queue/data?session_hash=stopping") as streaming:
            messages = told(streaming)
            next(message for message in messages if SECRET in str(message))
            body = {"session_hash": "stopping", "fn_index": min(slow.fns), "event_id": event_id}
            assert a.post("/gradio_api/cancel", json=body).json() == {"success": True}
            assert f"{SECRET} 39" not in str(list(messages))


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [], "fn_index": 0, "session_hash": "' + HASH.encode() + b'", "session_hash": "other"}',
        b'{"data": [], "fn_index": 0, "session_hash": "' + "\u0661".encode() + b'"}',
        b'{"data": [], "fn_index": 0, "session_hash": ["mine"]}',
        b'{"data": [], "fn_index": 0, "session_hash": ""}',
        b'{"data": [], "fn_index": 0, "session_hash": "../x"}',
        b'{"data": [], "fn_index": 0}',
        b'{"data": [], "fn_index": true, "session_hash": "mine"}',
        b'{"data": [], "fn_index": -1, "session_hash": "mine"}',
        b'{"data": [], "fn_index": ' + b"9" * 400 + b', "session_hash": "mine"}',
        b'{"data": [], "fn_index": ' + b"9" * 6000 + b', "session_hash": "mine"}',
        b'{"data": {}, "fn_index": 0, "session_hash": "mine"}',
        b'{"data": [' + b"[" * 100_000 + b"]" * 100_000 + b'], "fn_index": 0, "session_hash": "mine"}',
        b'{"data": [], "fn_index": 0, "trigger_id": "1", "session_hash": "mine"}',
        b'{"data": [' + b"1," * 600_000 + b"1]}",
        b"\xff\xfe\x00", b"", b"null", b"[]", b"data=1&fn_index=0&session_hash=mine",
    ],
    ids=lambda body: repr(body[:60]),
)  # fmt: skip
def test_what_no_page_sends_does_not_reach_gradio(slow, body):
    other, mine = slow.house.person(), slow.house.person()
    with slow.browser(other) as first, slow.browser(mine) as browser:
        first.post(PREDICT, json=event(max(slow.fns), [None], session_hash="other"))
        for kind in (
            "application/json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ):
            answer = browser.post(PREDICT, content=body, headers={"Content-Type": kind})
            assert answer.status_code in (404, 413), answer.text


def test_gradio_reads_what_was_checked_whatever_the_request_calls_it(slow):
    """A repeated name, another encoding, or a false type: there is one reading, the wall's."""
    fn = max(slow.fns)
    sent = json.dumps(event(fn, [None], session_hash="utf16")).encode("utf-16")
    with slow.browser(slow.house.person()) as browser:
        for kind in ("application/json; charset=latin-1", "text/plain", "multipart/form-data; boundary=x"):
            answer = browser.post(PREDICT, content=sent, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["data"]) == (200, [""])


def test_one_person_with_many_tabs_takes_no_hash_of_another(slow, monkeypatch):
    from webapp.routes import view_wall

    anna, bert = slow.house.person(), slow.house.person()
    fn = max(slow.fns)
    many = [
        ("POST", PREDICT, event(fn, [None], session_hash=f"b{number}"))
        for number in range(view_wall.HASHES_A_PERSON + 9)
    ]
    ask_all(slow.wall, anna, [("POST", PREDICT, event(fn, [None], session_hash="annas"))])
    ask_all(slow.wall, bert, many)
    again = ask_all(slow.wall, bert, [("POST", PREDICT, event(fn, [None], session_hash="annas"))])
    assert again[0].status_code == 404


def test_a_header_cannot_say_where_the_page_lives_or_who_may_read_it(view):
    """Gradio believes these of anybody, and lets any site read its answers when the host is not a local one."""
    lies = {"X-Forwarded-Host": "evil.example", "X-Gradio-Server": "http://evil.example", "Origin": "http://evil.example",
            "X-Forwarded-Proto": "https", "Host": "tuneroom.example"}  # fmt: skip
    with view.browser(view.house.person()) as browser:
        answer = browser.get("/datasets", headers=lies)
    assert answer.status_code == 200 and "evil.example" not in answer.text
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_page_names_no_other_host_and_its_assets_are_kept(view):
    with view.browser(view.house.person()) as browser:
        for page in all_pages():
            answer = browser.get(page.path)
            assert re.findall(r"(?:src|href|content)=\"(https?:)?//[^\"]*", answer.text) == []
            assert "og:" not in answer.text and "manifest" not in answer.text.split("window.gradio_config")[0]
            assert answer.headers["cache-control"] == "no-store"
        text = browser.get(all_pages()[0].path).text
        asset = re.search(r'src="\./(assets/index-[^"]+\.js)"', text)
        assert asset is not None
        assert "immutable" in browser.get(f"/{asset[1]}").headers["cache-control"]


# S17: other sites.


WRONG_ORIGINS: list[dict[str, str]] = [
    {},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://evil.example"},
    {"Origin": "http://testserver:81"},
    {"Origin": "http://testserver.evil.example"},
    {"Origin": "http://sub.testserver"},
    {"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://testserver", "Sec-Fetch-Site": "none"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Referer": "http://testserver/datasets"},
]


def test_no_other_site_changes_anything(view):
    """S17: every address that takes a change, with the cookie of somebody who may do everything, from elsewhere."""
    owner = view.house.person(Role.OWNER)
    cookie = {"Cookie": f"tuneroom={view.token(owner)}"}
    client = view.house.client
    assert client.get("/api/v1/me", headers=cookie).status_code == 200
    routes = {*addresses(client.app), *addresses(view.gradio)}
    before = everything(view)
    every = itertools.product(sorted(routes), ("POST", "PUT", "PATCH", "DELETE"))
    asked = [(path, method, wrong) for (path, method), wrong in zip(every, itertools.cycle(WRONG_ORIGINS))]
    asked += [(path, "POST", wrong) for path in ("/login", "/logout", PREDICT, "/v1/files") for wrong in WRONG_ORIGINS]
    for path, method, wrong in asked:
        answer = client.request(method, path, headers=cookie | wrong, data={"email": "x@example.org", "password": "x"})
        assert answer.status_code == 403, (method, path, wrong)
    assert everything(view) == before
    right = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/logout", headers=cookie | right, follow_redirects=False).status_code == 303


def everything(view: View) -> dict[str, list[Any]]:
    """Every row of every table, but for when a session was last seen, and who sweeps."""
    with view.house.deps.database.read() as session:
        return {
            name: sorted(str({key: value for key, value in row._mapping.items() if key != "seen_at"}) for row in rows)
            for name, table in Base.metadata.tables.items()
            if name != "leases"
            for rows in [session.execute(select(table)).all()]
        }
