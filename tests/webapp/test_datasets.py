"""Datasets over HTTP on both databases: the list, versions, rows, search, and who may see and change what."""

import io
import json
import subprocess
import sys
import time

from models.catalog.prepared import PreparedWriter
from models.domain.access import Role
from models.domain.dataset import CheckState
from models.domain.example import Conversation, Turn
from models.domain.example import Role as ChatRole
from models.infra import stored_rows
from models.infra.stored_rows import StoredRows
from tests.checked import check_uploads
from tests.house import ROWS, error_of
from webapp.actions.ensure_samples import ensure_samples
from webapp.actions.show_datasets import list_datasets, show_dataset


def conversation(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns})


def upload_version(house, person, dataset: str, name: str = "next.jsonl", rows: bytes = ROWS):
    files = {"file": (name, io.BytesIO(rows))}
    data = {"purpose": "fine-tune", "tuneroom_dataset": dataset}
    return house.client.post("/v1/files", files=files, data=data, headers=person.headers)


def get(house, person, path: str, **query):
    return house.client.get(f"/api/v1/datasets{path}", params=query, headers=person.headers)


def test_the_list_shows_own_datasets_before_samples_and_finds_them_by_words(house):
    anna = house.person()
    ensure_samples(house.deps)
    for name in ("support-mails.jsonl", "House 100% style.jsonl"):
        house.upload(anna, name)
    names = [each["name"] for each in get(house, anna, "").json()["data"]]
    assert names[:2] == ["House 100% style.jsonl", "support-mails.jsonl"]
    assert "larkspur-facts.jsonl" in names[2:]
    for words, found in (("SUPPORT mails", 1), ("100%", 1), ("_", 0), ("larkspur", 2), ("nothing like it", 0)):
        assert get(house, anna, "", search=words).json()["total"] == found, words
    first, second = (get(house, anna, "", limit=2, offset=offset).json() for offset in (0, 2))
    assert first["has_more"] and {each["id"] for each in first["data"]}.isdisjoint(
        each["id"] for each in second["data"]
    )


def test_another_teams_dataset_is_not_found_listed_or_added_to(house):
    anna, eve = house.person(), house.person(Role.OWNER, house.team("others"))
    dataset = house.upload(anna).json()["tuneroom"]["dataset"]
    assert get(house, eve, "").json()["total"] == 0
    for response in (
        get(house, eve, f"/{dataset}"), get(house, eve, f"/{dataset}/rows"), upload_version(house, eve, dataset)
    ):  # fmt: skip
        assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
    assert len(get(house, anna, f"/{dataset}").json()["versions"]) == 1


def test_a_second_upload_to_a_dataset_is_its_next_version_and_the_first_stays(house):
    anna, owner = house.person(), house.person(Role.OWNER)
    first = house.upload(anna).json()
    dataset = first["tuneroom"]["dataset"]
    second = upload_version(house, anna, dataset, rows=ROWS * 2).json()
    assert (second["tuneroom"]["dataset"], second["tuneroom"]["version"]) == (dataset, 2)
    assert upload_version(house, anna, dataset, rows=ROWS * 2).json()["id"] == second["id"]  # a blind retry
    third = upload_version(house, owner, dataset, rows=ROWS * 3).json()
    house.client.delete(f"/v1/files/{third['id']}", headers=owner.headers)
    fourth = upload_version(house, anna, dataset, rows=ROWS * 4).json()
    assert fourth["tuneroom"]["version"] == 4  # a number is never used again
    seen = get(house, anna, f"/{dataset}").json()
    assert [each["id"] for each in seen["versions"]] == [fourth["id"], second["id"], first["id"]]
    assert house.client.get(f"/v1/files/{first['id']}/content", headers=anna.headers).content == ROWS
    listed = get(house, anna, "").json()["data"]
    assert [(each["newest"]["id"], each["versions"]) for each in listed] == [(fourth["id"], 3)]


def test_only_its_maker_and_owners_add_a_version_and_nobody_to_a_sample(house):
    anna, bert = house.person(), house.person()
    dataset = house.upload(anna).json()["tuneroom"]["dataset"]
    assert upload_version(house, bert, dataset).status_code == 403
    assert upload_version(house, house.person(Role.VIEWER), dataset).status_code == 403
    ensure_samples(house.deps)
    sample = get(house, anna, "", search="plain-style").json()["data"][0]["id"]
    assert upload_version(house, house.person(Role.OWNER), sample).status_code == 403
    assert [each["number"] for each in _numbers(house, anna, dataset)] == [1]


def _numbers(house, person, dataset):
    return [each["tuneroom"] | {"number": each["tuneroom"]["version"]} for each in get(house, person, f"/{dataset}").json()["versions"]]  # fmt: skip  # noqa: E501


def test_the_check_is_seen_on_its_way_and_its_verdict_after(house):
    anna = house.person()
    file = house.upload(anna).json()["id"]

    def state() -> CheckState:
        return list_datasets(house.deps, anna.principal, limit=5)[0][0].newest.check.state

    assert state() is CheckState.WAITING
    house.check_file(file, is_usable=False, details="row 1 has no answer.")
    assert state() is CheckState.UNUSABLE
    other = house.upload(anna, "other.jsonl").json()["id"]
    job = house.client.get("/api/v1/jobs", headers=anna.headers).json()["data"][0]["id"]
    house.client.post(f"/api/v1/jobs/{job}/cancel", headers=anna.headers)
    assert other and state() is CheckState.NOT_CHECKED  # nothing moves, and the page need not look again


def test_used_by_names_the_teams_own_runs_on_any_version(house):
    anna, eve = house.person(), house.person(team=house.team("others"))
    base = house.base()
    job, _ = house.trained(anna, base)
    file = house.client.get(f"/api/v1/jobs/{job}", headers=anna.headers).json()["spec"]["data"]["training_file"]
    dataset = house.client.get(f"/v1/files/{file}", headers=anna.headers).json()["tuneroom"]["dataset"]
    house.trained(eve, base)
    seen = show_dataset(house.deps, anna.principal, dataset)
    assert [(run.job.id, run.base_name, run.versions) for run in seen.runs] == [(job, "tiny", (1,))]
    assert get(house, anna, "").json()["data"][0]["runs"] == 1


def checked(house, person, rows: bytes) -> str:
    """A dataset of one version that its check has read."""
    dataset = house.upload(person, rows=rows).json()["tuneroom"]["dataset"]
    check_uploads(house)
    return dataset


def test_rows_are_read_from_anywhere_page_by_page(house):
    anna = house.person()
    content = "\n".join(conversation(f"Question {n}?", f"Answer {n}.") for n in range(1, 51))
    dataset = checked(house, anna, content.encode())
    numbers, begin = [], 1
    while begin:
        page = get(house, anna, f"/{dataset}/rows", **{"from": begin, "limit": 20}).json()
        numbers += [row["row"] for row in page["data"]]
        begin = page["next"]
    assert numbers == list(range(1, 51))
    (row,) = get(house, anna, f"/{dataset}/rows", **{"from": 41, "limit": 1}).json()["data"]
    assert row["example"]["turns"][1]["content"] == "Answer 41."
    assert get(house, anna, f"/{dataset}/rows", version=7).status_code == 404


def test_rows_that_no_check_has_read_are_not_shown_and_the_page_says_why(quick_house):
    anna = quick_house.person()
    file = quick_house.upload(anna).json()
    rows = f"/{file['tuneroom']['dataset']}/rows"
    response = get(quick_house, anna, rows)
    assert response.status_code == 400 and "is being checked" in error_of(response)["message"]
    quick_house.check_file(file["id"], is_usable=False, details="row 1 has no answer.")
    response = get(quick_house, anna, rows)
    assert response.status_code == 400 and "cannot be used" in error_of(response)["message"]


def test_a_search_finds_what_was_written_and_not_how_json_writes_it(quick_house):
    anna = quick_house.person()
    lines = [
        conversation("Where is Zoë?", 'In the "old" town.'),
        conversation("Where is the ferry?", "C:\\harbour\nat noon"),
        json.dumps({"messages": [{"role": "user", "content": "x"}]}),
        "not json, but the ferry stands here",
    ]
    dataset = checked(quick_house, anna, "\n".join(lines).encode())

    def found(words: str) -> list[int]:
        page = get(quick_house, anna, f"/{dataset}/rows", search=words).json()
        assert page["next"] is None and not page["is_cut"]
        return [row["row"] for row in page["data"]]

    assert found("zoë") == [1]
    assert found('the "OLD" town') == [1]
    assert found("c:\\harbour") == [2]
    assert found("ferry") == [2, 4]
    assert found("messages") == [3]  # a key of JSON is nobody's words, except where the row is no conversation
    assert found("where nowhere") == []


HOSTILE = [
    b"[" * 100_000,
    b'{"a": NaN}',
    b'{"a": "\xff\xfe"}',
    b'{"a": "\\ud800"}',
    b'{"a": "\x00\x1b[31m"}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"messages": [{"role": "user", "content": "' + b"x" * 70_000 + b'"}]}',
    b'"<script>alert(1)</script>"',
    b"{",
]


def test_a_hostile_row_is_shown_as_one_that_cannot_be_read(quick_house):
    anna = quick_house.person()
    dataset = checked(quick_house, anna, b"\n".join([ROWS.strip(), *HOSTILE, ROWS.strip()]))
    page = get(quick_house, anna, f"/{dataset}/rows").json()["data"]
    assert [row["row"] for row in page if row["example"]] == [1, len(HOSTILE) + 2]
    assert all(row["problem"]["found"] and row["problem"]["needed"] for row in page[1:-1])
    version = show_dataset(quick_house.deps, anna.principal, dataset).versions[0].version
    raw = quick_house.deps.rows.read(version.scope, version.rows_sha256, limit=50)
    assert all(char.isprintable() or char in "\n\t" for row in raw.rows for char in row.raw)
    assert raw.rows[3].raw == '{"a": "\ufffd\ufffd"}' and raw.rows[-2].raw == "{"


def test_a_search_looks_into_both_answers_of_a_pair(quick_house):
    anna = quick_house.person()
    pairs = [{"prompt": "Which?", "chosen": f"left {n}", "rejected": f"right {n}"} for n in range(3)]
    dataset = checked(quick_house, anna, "\n".join(map(json.dumps, pairs)).encode())
    for words, rows in (("left 1", [2]), ("RIGHT 2", [3]), ("which? right", [1, 2, 3]), ("rejected", [])):
        page = get(quick_house, anna, f"/{dataset}/rows", search=words).json()
        assert [row["row"] for row in page["data"]] == rows


def many_rows(tmp_path, count: int) -> bytes:
    """Prepared rows, written as the intake writes them; every row's number is three times its place."""
    writer = PreparedWriter(tmp_path / "many.parquet")
    for place in range(1, count + 1):
        turns = (
            Turn(role=ChatRole.USER, content=f"Question {place}?"),
            Turn(role=ChatRole.ASSISTANT, content="Answer. " * 10),
        )
        writer.add_example(3 * place, Conversation(turns=turns))
    writer.close()
    return (tmp_path / "many.parquet").read_bytes()


def test_a_long_file_is_read_within_the_time_and_goes_on_where_it_stopped(quick_house, tmp_path):
    blob = quick_house.deps.storage.put_bytes("team/x", many_rows(tmp_path, 60_000))
    reader = StoredRows(quick_house.deps.storage)

    def read(**asked):
        return reader.read(blob.scope, blob.sha256, **asked)

    read(limit=1)  # pyarrow is loaded by the first reading
    began = time.monotonic()
    cut = read(limit=5, words="59999?", seconds=0.02)
    assert cut.is_cut and cut.rows == () and 1 < cut.following < 180_000
    assert time.monotonic() - began < 1
    tries, begin = 0, cut.following
    while (found := read(begin=begin, limit=5, words="59999?", seconds=0.2)).is_cut and not found.rows:
        tries, begin = tries + 1, found.following
        assert tries < 200
    assert [row.number for row in found.rows] == [3 * 59_999]
    last = read(begin=179_970, limit=20)
    assert [row.number for row in last.rows] == list(range(179_970, 180_001, 3)) and last.following is None
    page = read(begin=150_001, limit=2, seconds=0.5)
    assert [row.number for row in page.rows] == [150_003, 150_006] and page.following == 150_009
    assert read(begin=180_001, limit=1).rows == ()


def test_where_rows_lie_is_remembered_for_few_files_only(quick_house, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_rows, "MOST_FILES", 3)
    reader = StoredRows(quick_house.deps.storage)
    for count in range(1, 6):
        blob = quick_house.deps.storage.put_bytes("team/x", many_rows(tmp_path, count))
        assert len(reader.read(blob.scope, blob.sha256, limit=9).rows) == count
        assert reader.read(blob.scope, blob.sha256, begin=3 * count, limit=9).rows[0].number == 3 * count
    assert len(reader._directories) == 3


def test_the_web_process_starts_without_pyarrow():
    code = "import sys, webapp.app; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
