"""Uploading, listing, reading and deleting files over HTTP, on both databases."""

import io

import pytest

from models.domain.access import Role
from tests.house import ROWS, error_of


def test_an_upload_is_stored_byte_for_byte_and_its_check_is_queued(house):
    anna = house.person()
    file = house.upload(anna).json()
    assert (file["object"], file["bytes"], file["status"], file["purpose"]) == (
        "file",
        len(ROWS),
        "uploaded",
        "fine-tune",
    )
    content = house.client.get(f"/v1/files/{file['id']}/content", headers=anna.headers)
    assert content.content == ROWS
    jobs = house.client.get("/api/v1/jobs", headers=anna.headers).json()["data"]
    assert [(job["kind"], job["lane"], job["state"], job["spec"]) for job in jobs] == [
        ("check_data", "light", "queued", {"file": file["id"]})
    ]


def test_a_checked_file_tells_its_verdict(house):
    anna = house.person()
    file = house.upload(anna).json()
    house.check_file(file["id"], is_usable=False, details="row 3 has no answer.")
    seen = house.client.get(f"/v1/files/{file['id']}", headers=anna.headers).json()
    assert (seen["status"], seen["status_details"]) == ("error", "row 3 has no answer.")
    assert seen["tuneroom"]["format"] == "messages"


@pytest.mark.parametrize(
    ("name", "rows", "sentence"),
    [
        ("rows.xlsx", ROWS, "does not end in .csv"),
        ("rows.jsonl", b"", "is empty"),
        ("..", ROWS, "does not end in"),
        ("jsonl", ROWS, "does not end in"),
        (".jsonl.gz", ROWS, "does not end in"),
    ],
)
def test_a_file_that_cannot_be_rows_is_refused_with_a_sentence_and_leaves_nothing(quick_house, name, rows, sentence):
    anna = quick_house.person()
    response = quick_house.upload(anna, name, rows)
    assert response.status_code == 400
    assert sentence in error_of(response)["message"]
    assert quick_house.client.get("/v1/files", headers=anna.headers).json()["data"] == []
    assert not [path for path in (quick_house.deps.settings.data_dir / "storage").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/rows.jsonl", "rows.jsonl"),
        ("C:\\data\\rows.jsonl", "rows.jsonl"),
        ("a\u202egpj.jsonl", "agpj.jsonl"),
        ("x" * 400 + ".jsonl", "x" * 194 + ".jsonl"),
    ],
)
def test_a_hostile_name_is_only_ever_shown(quick_house, sent, shown):
    anna = quick_house.person()
    assert quick_house.upload(anna, sent).json()["filename"] == shown


def test_a_viewer_may_not_upload_and_nothing_is_stored(quick_house):
    response = quick_house.upload(quick_house.person(Role.VIEWER))
    assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")
    assert not (quick_house.deps.settings.data_dir / "storage").exists()


def test_a_purpose_we_do_not_serve_is_refused_by_name(quick_house):
    files = {"file": ("rows.jsonl", io.BytesIO(ROWS))}
    response = quick_house.client.post(
        "/v1/files", files=files, data={"purpose": "vision"}, headers=quick_house.person().headers
    )  # fmt: skip
    assert (response.status_code, error_of(response)["param"]) == (400, "purpose")


def test_a_form_without_a_file_names_the_missing_field(quick_house):
    response = quick_house.client.post("/v1/files", data={"purpose": "fine-tune"}, headers=quick_house.person().headers)
    assert (response.status_code, error_of(response)["param"]) == (400, "file")


def test_an_upload_sent_twice_by_a_blind_retry_is_one_file(house):
    anna = house.person()
    first, second = house.upload(anna), house.upload(anna)
    assert first.json()["id"] == second.json()["id"]
    house.client.delete(f"/v1/files/{first.json()['id']}", headers=anna.headers)
    assert house.upload(anna).json()["id"] != first.json()["id"]


def test_files_page_in_both_orders_without_loss_or_repetition(house):
    anna = house.person()
    ids = [house.upload(anna, f"{number}.jsonl").json()["id"] for number in range(5)]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        seen, after = [], None
        while True:
            query = {"limit": 2, "order": order} | ({"after": after} if after else {})
            page = house.client.get("/v1/files", params=query, headers=anna.headers).json()
            seen += [file["id"] for file in page["data"]]
            after = page["last_id"]
            if not page["has_more"]:
                break
        assert seen == expected


def test_a_deleted_file_is_gone_and_only_its_maker_or_an_owner_deletes_it(house):
    anna, bert, owner = house.person(), house.person(), house.person(Role.OWNER)
    file = house.upload(anna).json()["id"]
    assert house.client.delete(f"/v1/files/{file}", headers=bert.headers).status_code == 403
    assert house.client.delete(f"/v1/files/{file}", headers=owner.headers).json() == {
        "id": file, "object": "file", "deleted": True,
    }  # fmt: skip
    assert house.client.get(f"/v1/files/{file}", headers=anna.headers).status_code == 404


def test_a_file_over_the_limit_is_refused_from_its_length_alone(quick_house):
    anna = quick_house.person()
    response = quick_house.upload(anna, rows=b"x" * 2_200_000)
    assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
    assert not (quick_house.deps.settings.data_dir / "storage").exists()


def test_a_file_just_over_the_limit_is_refused_while_it_is_stored_and_leaves_nothing(quick_house):
    anna = quick_house.person()
    response = quick_house.upload(anna, rows=b"x" * 2_000_001)
    assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
    assert "2,000,000 bytes" in error_of(response)["message"]
    assert not [path for path in (quick_house.deps.settings.data_dir / "storage").rglob("*") if path.is_file()]


def test_a_body_without_a_length_is_cut_off_at_the_limit(quick_house):
    anna = quick_house.person()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="r.jsonl"\r\n\r\n'
    chunks = (head if number == 0 else b"x" * 100_000 for number in range(30))
    headers = anna.headers | {"Content-Type": "multipart/form-data; boundary=b"}
    response = quick_house.client.post("/v1/files", content=chunks, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
    assert not (quick_house.deps.settings.data_dir / "storage").exists()


def test_only_uploads_may_be_large(quick_house):
    response = quick_house.client.post(
        "/v1/fine_tuning/jobs", content=b"{" + b" " * 1_100_000 + b"}",
        headers=quick_house.person().headers | {"Content-Type": "application/json"},
    )  # fmt: skip
    assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
