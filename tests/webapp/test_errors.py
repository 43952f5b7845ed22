"""What nobody expected: an error id for the client, the story for the log, never a path, SQL or a traceback (S21)."""

import re
import sqlite3

import pytest
import structlog

from models.domain import errors
from models.domain.errors import AppError, Code
from tests.house import error_of
from webapp.routes import answers

SECRETS = (
    'File "/srv/tuneroom/models/db/store/team.py", line 3, in job',
    "SELECT jobs.id FROM jobs WHERE jobs.id = 'ftjob-1'",
    "Traceback (most recent call last):",
    "password=hunter2",
    "/home/user/.cache/token",
)
KINDS = (RuntimeError, KeyError, ValueError, OSError, sqlite3.OperationalError, TypeError, AssertionError,
         RecursionError, MemoryError, UnicodeDecodeError)  # fmt: skip


def raised(kind: type[Exception], text: str) -> Exception:
    return kind("utf-8", b"x", 0, 1, text) if kind is UnicodeDecodeError else kind(text)


@pytest.mark.parametrize("kind", KINDS)
def test_no_unexpected_error_leaves_the_house(quick_house, kind):
    anna = quick_house.person()
    for text in SECRETS:

        @quick_house.client.app.get(f"/api/break/{kind.__name__}/{abs(hash(text))}")
        def _break(text: str = text) -> None:
            raise raised(kind, text)

        with structlog.testing.capture_logs() as logs:
            response = quick_house.client.get(f"/api/break/{kind.__name__}/{abs(hash(text))}", headers=anna.headers)
        error = error_of(response)
        assert (response.status_code, error["type"], error["code"]) == (500, "server_error", "internal")
        assert text not in response.text and "Traceback" not in response.text
        found = re.search(r"err-[0-9a-z]{26}", error["message"])
        assert found and [entry["error_id"] for entry in logs] == [found[0]]
        assert logs[0]["exc_info"].args[-1] == text


def test_an_expected_error_tells_its_sentence_and_field_but_no_other_fact():
    error = errors.Invalid("It is too wide.", code=Code.INVALID_SETTING, param="width", path="/srv/secret")
    response = answers.answer(error, "GET")
    assert response.status_code == 400
    assert error_of_body(response) == {
        "message": "It is too wide.", "type": "invalid_request_error", "param": "width", "code": "invalid_setting",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotSignedIn("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.Invalid("x"), 400),
        (errors.TooLarge("x"), 413),
        (errors.Invalid("x", code=Code.TOO_LARGE), 413),
        (errors.Conflict("x"), 409),
        (errors.Unavailable("x"), 503),
        (errors.Unavailable("x", code=Code.TIMED_OUT), 503),
        (errors.Invalid("x", code=Code.CONTEXT_TOO_LONG), 400),
        (AppError("x", code=Code.RATE_LIMITED), 429),
        (errors.JobFailed("x", code=Code.OUT_OF_MEMORY), 500),
        (AppError("x"), 500),
    ],
)
def test_each_kind_of_error_has_its_status(error, status):
    assert answers.status_of(error) == status


@pytest.mark.parametrize("kind", sorted(errors.KINDS))
def test_a_conflict_and_every_failed_create_forbid_the_client_to_retry(kind):
    error = errors.KINDS[kind]("x")
    assert answers.answer(error, "POST").headers["x-should-retry"] == "false"
    assert ("x-should-retry" in answers.answer(error, "GET").headers) == (answers.status_of(error) == 409)


def test_unknown_addresses_and_methods_have_the_same_shape(quick_house):
    anna = quick_house.person()
    lost = quick_house.client.get("/v1/nothing", headers=anna.headers)
    assert (lost.status_code, error_of(lost)["code"]) == (404, "not_found")
    wrong = quick_house.client.put("/v1/models", headers=anna.headers)
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "invalid_request")
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize("path", ["/v1/files/%00", "/v1/files?after=%00", "/v1/models/a%00b"])
def test_nul_in_an_address_is_absent_and_not_a_driver_error(house, path):
    response = house.client.get(path, headers=house.person().headers)
    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")


def error_of_body(response) -> dict:
    response.content = response.body
    return error_of(response)


def test_an_error_that_knows_how_long_to_wait_says_so_to_programs_too():
    error = errors.Unavailable("Too many tries.", code=Code.RATE_LIMITED, retry_after_seconds=412)
    assert answers.answer(error, "POST").headers["retry-after"] == "412"
    assert answers.answer(errors.Unavailable("Away."), "POST").headers["retry-after"] == "2"
