"""The data gate over HTTP: uploads of several files, readings, reports, edits, exports, and who may what."""

import csv
import gzip
import io
import json

import pytest

from models.domain.access import Role
from models.domain.job import JobKind
from tests.house import ROWS, error_of
from tests.light_worker import do_waiting
from webapp.actions.export_rows import safe_cell
from webapp.actions.fetch_dataset import wish_for_dataset

ALPACA = b'{"instruction": "One?", "output": "1"}\n{"instruction": "Two?", "output": "2"}\n'
ODD = b"frage;antwort;n\nEins?;1;a\nZwei?;;b\nDrei?;3;c\n"
TALK = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello"}]}


def send(house, person, *files: tuple[str, bytes], **form):
    several = [("file", (name, io.BytesIO(content))) for name, content in files]
    return house.client.post("/v1/files", files=several, data={"purpose": "fine-tune"} | form, headers=person.headers)


def post(house, person, path: str, body: dict | None = None):
    return house.client.post(f"/api/v1{path}", json=body, headers=person.headers)


def get(house, person, path: str, **query):
    return house.client.get(path, params=query, headers=person.headers)


def file_of(house, person, file_id: str) -> dict:
    return get(house, person, f"/v1/files/{file_id}").json()


def versions(house, person, dataset: str) -> list[dict]:
    return get(house, person, f"/api/v1/datasets/{dataset}").json()["versions"]


# uploads


def test_several_files_make_one_version_whose_rows_go_on_through_all_of_them(house):
    anna = house.person()
    packed = gzip.compress(ALPACA, mtime=0)
    files = (("a.jsonl", ALPACA), ("b.jsonl.gz", packed), ("c.csv", b"instruction,output\nThree?,3\n"))
    made = send(house, anna, *files)
    assert made.status_code == 200, made.text
    file = made.json()
    assert (file["filename"], file["bytes"]) == ("a.jsonl and 2 more", sum(len(content) for _, content in files))
    again = send(house, anna, *files)
    assert again.json()["id"] == file["id"]  # a blind retry
    do_waiting(house)
    seen = file_of(house, anna, file["id"])
    assert (seen["status"], seen["tuneroom"]["rows"], seen["tuneroom"]["usable_rows"]) == ("processed", 5, 5)
    assert [part["filename"] for part in seen["tuneroom"]["parts"]] == ["a.jsonl", "b.jsonl.gz", "c.csv"]
    whole = get(house, anna, f"/v1/files/{file['id']}/content")
    assert whole.status_code == 409 and "?part=1 to ?part=3" in error_of(whole)["message"]
    assert get(house, anna, f"/v1/files/{file['id']}/content", part=1).content == ALPACA
    assert get(house, anna, f"/v1/files/{file['id']}/content", part=4).status_code == 404
    report = get(house, anna, f"/api/v1/files/{file['id']}/reports").json()["intake"]
    assert [(part["filename"], part["first_row"], part["rows"]) for part in report["parts"]] == [
        ("a.jsonl", 1, 2), ("b.jsonl.gz", 3, 2), ("c.csv", 5, 1)
    ]  # fmt: skip


def test_one_file_has_one_part_and_its_content_as_ever(quick_house):
    anna = quick_house.person()
    file = send(quick_house, anna, ("a.jsonl", ALPACA)).json()["id"]
    for query in ({}, {"part": 1}):
        assert get(quick_house, anna, f"/v1/files/{file}/content", **query).content == ALPACA
    assert get(quick_house, anna, f"/v1/files/{file}/content", part=2).status_code == 404


@pytest.mark.parametrize(
    ("files", "form", "sentence", "param"),
    [
        ([("a.jsonl", ALPACA), ("b.exe", ALPACA)], {}, "does not end in", "file"),
        ([("a.jsonl", ALPACA), ("b.jsonl", b"")], {}, "b.jsonl is empty", None),
        ([(f"{n}.jsonl", ALPACA) for n in range(65)], {}, "from 1 to 64", "file"),
        ([("a.jsonl", b"x" * 1_100_000), ("b.jsonl", b"x" * 1_100_000)], {}, "2,000,000 bytes", None),
        ([("a.jsonl", b"x" * 1_000_001), ("b.jsonl", b"x" * 1_000_001)], {}, "2,000,002 bytes together", None),
        ([("a.jsonl", ALPACA)], {"tuneroom_format": "excel"}, "is not a format", "format"),
    ],
)
def test_what_cannot_be_one_version_is_refused_whole(quick_house, files, form, sentence, param):
    anna = quick_house.person()
    response = send(quick_house, anna, *files, **form)
    assert response.status_code in (400, 413)
    assert sentence in error_of(response)["message"] and error_of(response)["param"] == param
    assert get(quick_house, anna, "/v1/files").json()["data"] == []
    assert not [path for path in (quick_house.deps.settings.data_dir / "storage").rglob("*") if path.is_file()]


# readings


def test_a_file_that_no_format_fits_becomes_usable_by_another_reading_of_the_same_version(house):
    anna = house.person()
    file = send(house, anna, ("odd.csv", ODD.replace(b";", b","))).json()["id"]
    do_waiting(house)
    assert file_of(house, anna, file)["status"] == "error"
    reading = {"format": "alpaca", "mapping": {"instruction": "frage", "output": "antwort"}}
    changed = post(house, anna, f"/files/{file}/reading", reading).json()
    assert (changed["id"], changed["status"], changed["tuneroom"]["reading"]) == (file, "uploaded", reading)
    do_waiting(house)
    seen = file_of(house, anna, file)
    assert (seen["status"], seen["tuneroom"]["usable_rows"], seen["tuneroom"]["version"]) == ("processed", 2, 1)


def test_a_check_that_was_cancelled_begins_again_with_the_same_reading(quick_house):
    anna = quick_house.person()
    file = send(quick_house, anna, ("a.jsonl", ALPACA)).json()["id"]
    checks = lambda: get(quick_house, anna, "/api/v1/jobs", kind="check_data").json()["data"]  # noqa: E731
    post(quick_house, anna, f"/files/{file}/reading", {})
    assert len(checks()) == 1
    post(quick_house, anna, f"/jobs/{checks()[0]['id']}/cancel")
    post(quick_house, anna, f"/files/{file}/reading", {})
    assert [check["state"] for check in checks()] == ["queued", "cancelled"]
    do_waiting(quick_house)
    assert file_of(quick_house, anna, file)["status"] == "processed"


def test_another_reading_of_a_version_that_was_usable_is_the_next_version(house):
    anna, bert = house.person(), house.person()
    first = send(house, anna, ("a.jsonl", ALPACA), ("b.jsonl", ALPACA)).json()
    do_waiting(house)
    assert post(house, bert, f"/files/{first['id']}/reading", {"format": "alpaca"}).status_code == 403
    second = post(house, anna, f"/files/{first['id']}/reading", {"format": "alpaca"}).json()
    assert (second["tuneroom"]["version"], second["tuneroom"]["made_from"]) == (2, first["id"])
    assert second["tuneroom"]["sha256"] == first["tuneroom"]["sha256"]
    assert get(house, anna, f"/v1/files/{second['id']}/content", part=2).content == ALPACA
    same = post(house, anna, f"/files/{second['id']}/reading", {"format": "alpaca"}).json()
    assert same["id"] == second["id"] and len(versions(house, anna, first["tuneroom"]["dataset"])) == 2
    wrong = post(house, anna, f"/files/{first['id']}/reading", {"format": "excel"})
    assert error_of(wrong)["param"] == "format"
    lost = post(house, anna, f"/files/{first['id']}/reading", {"format": "alpaca", "mapping": {"system": "rules"}})
    assert error_of(lost)["param"] == "mapping" and 'no column "rules"' in error_of(lost)["message"]


# reports


def test_the_three_stages_say_how_far_they_are(house):
    anna, viewer, base = house.person(), house.person(Role.VIEWER), house.base()
    file = send(house, anna, ("a.jsonl", ALPACA + b"{\n" + ALPACA)).json()["id"]
    path = f"/api/v1/files/{file}/reports"
    assert get(house, anna, path).json() == {
        "intake": None, "tokens": [],
        "gate": {"state": "none", "progress": None, "report": None, "job": None, "error": None},
    }  # fmt: skip
    early = post(house, anna, f"/files/{file}/tokens", {"base": base})
    assert early.status_code == 409 and "still being checked" in error_of(early)["message"]
    do_waiting(house, 1)
    seen = get(house, anna, path).json()
    assert (seen["intake"]["rows"], seen["intake"]["usable_rows"], seen["gate"]["state"]) == (5, 4, "waiting")
    do_waiting(house)
    gate = get(house, viewer, path).json()["gate"]
    assert (gate["state"], gate["report"]["duplicates"]) == ("done", 2)
    assert post(house, anna, f"/files/{file}/gate").status_code == 409
    assert post(house, viewer, f"/files/{file}/tokens", {"base": base}).status_code == 403
    first, second = (post(house, person, f"/files/{file}/tokens", {"base": name}).json()
                     for person, name in ((anna, base), (house.person(), "tiny")))  # fmt: skip
    assert first["state"] == second["state"] == "waiting" and first["job"]["id"] == second["job"]["id"]
    (tokens,) = get(house, anna, path).json()["tokens"]
    assert (tokens["base"], tokens["base_name"], tokens["state"]) == (base, "tiny", "waiting")
    house.client.post(f"/api/v1/jobs/{first['job']['id']}/cancel", headers=anna.headers)
    (tokens,) = get(house, anna, path).json()["tokens"]
    assert (tokens["state"], tokens["error"]) == ("failed", "It was cancelled.")
    assert post(house, anna, f"/files/{file}/tokens", {"base": base}).json()["job"]["id"] != first["job"]["id"]


def test_short_questions_say_at_once_that_no_worker_runs(quick_house):
    anna, base = quick_house.person(), quick_house.base()
    file = send(quick_house, anna, ("a.jsonl", ALPACA)).json()["id"]
    early = post(quick_house, anna, f"/files/{file}/preview", {"base": base, "max_length": 64})
    assert early.status_code == 409
    do_waiting(quick_house)
    for path, body in (
        ("columns", {}), ("preview", {"base": base, "max_length": 64}), ("compare", {"with": file}),
    ):  # fmt: skip
        response = post(quick_house, anna, f"/files/{file}/{path}", body)
        assert response.status_code == 503 and "No light worker" in error_of(response)["message"], path
    jump = post(quick_house, anna, f"/files/{file}/preview", {"base": base, "max_length": 64, "jump": "longest"})
    assert jump.status_code == 409 and "Count them first" in error_of(jump)["message"]


# edits


def test_rows_are_edited_removed_and_added_and_every_version_stays(house):
    anna = house.person()
    file = send(house, anna, ("a.jsonl", ALPACA)).json()
    dataset = file["tuneroom"]["dataset"]
    do_waiting(house)
    turns = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Uno"}]
    edits = [{"row": 1, "example": {"kind": "conversation", "turns": turns}}, {"row": 2, "example": None}]
    job = post(house, anna, f"/files/{file['id']}/edits", {"edits": edits}).json()
    assert (job["kind"], job["state"], job["spec"]["note"]) == ("edit_data", "queued", "1 row edited, 1 row removed")
    refused = house.client.delete(f"/v1/files/{file['id']}", headers=anna.headers)
    assert refused.status_code == 409 and job["id"] in error_of(refused)["message"]
    do_waiting(house)
    added = post(house, anna, f"/datasets/{dataset}/rows", {"rows": [TALK], "note": "from a chat"}).json()
    do_waiting(house)
    assert get(house, anna, f"/api/v1/jobs/{added['id']}").json()["state"] == "succeeded"
    third, second, first = versions(house, anna, dataset)
    assert (first["id"], second["tuneroom"]["made_from"], third["tuneroom"]["made_from"]) == (
        file["id"], file["id"], second["id"]
    )  # fmt: skip
    assert [each["status"] for each in (first, second, third)] == ["processed"] * 3
    assert third["tuneroom"]["note"] == "from a chat"
    assert get(house, anna, f"/v1/files/{file['id']}/content").content == ALPACA
    rows = get(house, anna, f"/v1/files/{third['id']}/content").content.splitlines()
    assert json.loads(rows[0])["output"] == "Uno" and len(rows) == 2
    last = json.loads(rows[1])
    assert last["instruction"] == "Hi?" and "@" in last["added_by"] and last["added_at"].startswith("20")
    old = post(house, anna, f"/files/{file['id']}/edits", {"edits": edits})
    assert old.status_code == 409 and "newer version, 3" in error_of(old)["message"]


def test_added_rows_go_past_a_version_that_is_broken(house):
    anna = house.person()
    file = send(house, anna, ("a.jsonl", ALPACA)).json()
    dataset = file["tuneroom"]["dataset"]
    send(house, anna, ("broken.jsonl", b"{\n"), tuneroom_dataset=dataset)
    do_waiting(house)
    post(house, anna, f"/datasets/{dataset}/rows", {"rows": [TALK]})
    do_waiting(house)
    third, second, _ = versions(house, anna, dataset)
    assert (second["status"], third["status"], third["tuneroom"]["made_from"]) == ("error", "processed", file["id"])
    assert third["tuneroom"]["usable_rows"] == 3


def test_a_team_does_not_fill_the_lane_with_changes(quick_house):
    anna = quick_house.person()
    dataset = send(quick_house, anna, ("a.jsonl", ALPACA)).json()["tuneroom"]["dataset"]
    codes = [post(quick_house, anna, f"/datasets/{dataset}/rows", {"rows": [TALK]}).status_code for _ in range(51)]
    assert codes == [200] * 50 + [429]


def test_a_version_that_an_earlier_release_checked_is_checked_again_for_its_gate(quick_house):
    anna = quick_house.person()
    file = send(quick_house, anna, ("a.jsonl", ALPACA)).json()["id"]
    quick_house.check_file(file, is_usable=True, rows=2)
    early = get(quick_house, anna, f"/api/v1/files/{file}/messages.jsonl")
    assert early.status_code == 409
    assert post(quick_house, anna, f"/files/{file}/gate").json()["kind"] == "check_data"
    do_waiting(quick_house)
    assert get(quick_house, anna, f"/api/v1/files/{file}/reports").json()["gate"]["state"] == "done"
    assert get(quick_house, anna, f"/api/v1/files/{file}/messages.jsonl").content.count(b"\n") == 2


def test_an_edit_that_is_no_example_is_refused_by_its_place(quick_house):
    anna = quick_house.person()
    file = send(quick_house, anna, ("a.jsonl", ALPACA)).json()
    edits = f"/files/{file['id']}/edits"
    for example, param in (({"kind": "conversation"}, "edits.0.example"), ({}, "edits.0.example")):
        response = post(quick_house, anna, edits, {"edits": [{"row": 1, "example": example}]})
        assert (response.status_code, error_of(response)["param"]) == (400, param)
    twice = post(quick_house, anna, edits, {"edits": [{"row": 1, "example": None}] * 2})
    assert twice.status_code == 400 and "same row" in error_of(twice)["message"]
    rows = f"/datasets/{file['tuneroom']['dataset']}/rows"
    for row in ({"messages": []}, {"kind": "text", "text": ""}, {"prompt": "x"}):
        response = post(quick_house, anna, rows, {"rows": [TALK, row]})
        assert (response.status_code, error_of(response)["param"]) == (400, "rows.1"), row


# what leaves


def test_an_export_is_the_usable_rows_as_messages_the_same_bytes_each_time(house):
    anna = house.person()
    content = ALPACA + b"{\n" + ALPACA.replace(b"One", "Zoë".encode())
    file = send(house, anna, ("a.jsonl", content)).json()["id"]
    path = f"/api/v1/files/{file}/messages.jsonl"
    assert get(house, anna, path).status_code == 409
    do_waiting(house)
    first, second = get(house, anna, path), get(house, anna, path)
    assert first.content == second.content and first.headers["content-type"].startswith("application/jsonl")
    lines = first.content.decode().splitlines()
    assert [json.loads(line)["messages"][1]["content"] for line in lines] == ["1", "2", "1", "2"]
    assert "Zoë?" in lines[2]
    again = send(house, anna, ("back.jsonl", first.content)).json()["id"]
    do_waiting(house)
    assert get(house, anna, f"/api/v1/files/{again}/messages.jsonl").content == first.content


@pytest.mark.parametrize(
    ("row", "out"),
    [
        ({"text": "Only words."}, {"text": "Only words."}),
        (
            {"prompt": "Q", "chosen": "good", "rejected": "bad"},
            {"prompt": [{"role": "user", "content": "Q"}], "chosen": [{"role": "assistant", "content": "good"}],
             "rejected": [{"role": "assistant", "content": "bad"}]},
        ),
        (
            {"prompt": "Q", "completion": "A", "label": True},
            {"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}],
             "label": True},
        ),
    ],
)  # fmt: skip
def test_other_kinds_of_rows_leave_in_their_own_spelling(quick_house, row, out):
    anna = quick_house.person()
    file = send(quick_house, anna, ("a.jsonl", json.dumps(row).encode())).json()["id"]
    do_waiting(quick_house)
    assert json.loads(get(quick_house, anna, f"/api/v1/files/{file}/messages.jsonl").content) == out


def test_problems_leave_as_a_table_that_no_spreadsheet_runs(quick_house):
    """S12: a cell that begins like a formula is text, and a row stays one row."""
    anna = quick_house.person()
    rows = [
        {"instruction": "ok", "output": "ok"},
        {"=cmd|' /C calc'!A0": 1, "\r\n+x": 2},
        {"instruction": 5, "output": "@x"},
    ]
    lines = [json.dumps(row).encode() for row in rows] + [b"=1+1", b'\x1b[31m"']
    file = send(quick_house, anna, ("a.jsonl", b"\n".join(lines)), tuneroom_format="alpaca").json()["id"]
    do_waiting(quick_house)
    response = get(quick_house, anna, f"/api/v1/files/{file}/problems.csv")
    assert response.headers["content-type"].startswith("text/csv")
    table = list(csv.reader(io.StringIO(response.text, newline="")))
    assert table[0] == ["row", "problem", "field", "found", "needed"]
    assert [row[0] for row in table[1:]] == ["2", "3", "4", "5"] and all(len(row) == 5 for row in table)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in table for cell in row)
    assert "\x1b" not in response.text


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1"])
def test_a_cell_is_text_whatever_it_begins_with(cell):
    """S12"""
    assert safe_cell(cell).startswith("'") and cell in safe_cell(cell)


def test_an_unusable_file_tells_the_problem_of_every_row(quick_house):
    anna = quick_house.person()
    file = send(quick_house, anna, ("a.jsonl", b'{"x": 1}\n' * 30), tuneroom_format="alpaca").json()["id"]
    do_waiting(quick_house)
    assert file_of(quick_house, anna, file)["status"] == "error"
    assert get(quick_house, anna, f"/api/v1/files/{file}/problems.csv").text.count("\r\n") == 31


# the hub


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:8000/x", "https://huggingface.co.evil.example/datasets/a/b", "//10.0.0.1/a", "a/b/c",
        "../etc", "a/..", "org/name?x=1", "org/na me", "org/name#x", "", "org\\name", "file:///etc/passwd", "a--b/c",
        "é/x",        "https://huggingface.co/datasets/@evil.example/x", "org/name@../../x",
    ],
)  # fmt: skip
def test_nothing_but_a_name_of_the_hub_can_be_asked_for(quick_house, reference):
    """S16: the host is never part of what a person writes."""
    anna = quick_house.person()
    response = post(quick_house, anna, "/datasets/fetch", {"reference": reference})
    assert response.status_code == 400, response.text
    assert get(quick_house, anna, "/api/v1/jobs").json()["data"] == []


def test_a_dataset_of_the_hub_is_queued_once_and_by_who_may(house):
    anna, viewer = house.person(), house.person(Role.VIEWER)
    wish = {"reference": "https://huggingface.co/datasets/org/rows@v1", "split": "main/train"}
    job = post(house, anna, "/datasets/fetch", wish)
    assert job.status_code == 201 and job.json()["kind"] == JobKind.FETCH_DATA
    spec = job.json()["spec"]
    assert (spec["reference"], spec["revision"], spec["split"], spec["name"]) == (
        "org/rows",
        "v1",
        "main/train",
        "rows",
    )
    assert post(house, anna, "/datasets/fetch", wish).status_code == 409
    assert post(house, viewer, "/datasets/fetch", wish).status_code == 403
    eve = house.person(team=house.team("others"))
    dataset = send(house, anna, ("a.jsonl", ROWS)).json()["tuneroom"]["dataset"]
    into = post(house, eve, "/datasets/fetch", {"reference": "org/rows", "dataset": dataset})
    assert (into.status_code, error_of(into)["code"]) == (404, "not_found")


def test_a_name_is_understood_as_people_write_it():
    made = wish_for_dataset(" https://huggingface.co/datasets/org/rows/ ", None, "", "", None)
    assert (made.reference, made.revision, made.split, made.name) == ("org/rows", None, "train", "rows")
    assert wish_for_dataset("squad", "refs/convert/parquet", "test", "Mine", None).name == "Mine"


def test_another_teams_version_is_not_found_beside_ones_own(quick_house):
    anna, eve = quick_house.person(), quick_house.person(team=quick_house.team("others"))
    hers, mine = (send(quick_house, person, ("a.jsonl", ALPACA)).json()["id"] for person in (anna, eve))
    do_waiting(quick_house)
    response = post(quick_house, eve, f"/files/{mine}/compare", {"with": hers})
    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
