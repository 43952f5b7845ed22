"""The data gate with real processes: from a table that no format knows to a version that was edited and compared.

One installation as `tuneroom up` starts it, with the bundled base, for the whole file.
"""

import io
import json
import time

import httpx
import pytest

from models import samples
from webapp.running import Running, running

BASE = "smollm2-135m-instruct"
SLOW = 240  # seconds: the import of the bundled base, and checks beside other processes
PREVIEW_SECONDS = 5.0
ROWS = [
    ("Wo steht die Eule?", "Im Regal, neben dem Fenster."),
    ("Wer füttert sie?", "Marta, jeden Abend um sechs."),
    ("", "eine Antwort ohne Frage"),
    ("Wo steht die Eule?", "Im Regal, neben dem Fenster."),
    ("Wie heißt sie?", "Sie heißt Ada."),
]
TABLE = "\ufefffrage,antwort,datum\n" + "".join(f'"{frage}","{antwort}",2026-11-{n:02}\n' for n, (frage, antwort) in enumerate(ROWS, 1))  # fmt: skip  # noqa: E501


class Team:
    """The app as a program with a key sees it."""

    def __init__(self, app: Running) -> None:
        key = app.new_key("ada@example.org")
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=app.url, headers=headers, timeout=30, trust_env=False)

    def get(self, path: str, **query):
        return self._client.get(path, params=query).raise_for_status()

    def post(self, path: str, body: dict | None = None) -> dict:
        answer = self._client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def upload(self, name: str, content: bytes) -> dict:
        form = {"purpose": "fine-tune"}
        answer = self._client.post("/v1/files", files={"file": (name, io.BytesIO(content))}, data=form)
        return answer.raise_for_status().json()

    def checked(self, file_id: str) -> dict:
        """The file once its check has ended."""
        return until(lambda: self.get(f"/v1/files/{file_id}").json(), lambda file: file["status"] != "uploaded")

    def ended(self, job: dict) -> dict:
        found = until(
            lambda: self.get(f"/api/v1/jobs/{job['id']}").json(),
            lambda seen: seen["state"] not in ("queued", "running"),
        )
        assert found["state"] == "succeeded", found["error"]
        return found

    def reports(self, file_id: str) -> dict:
        return self.get(f"/api/v1/files/{file_id}/reports").json()


def until(look, is_so, seconds: float = SLOW):
    deadline = time.monotonic() + seconds
    while not is_so(found := look()):
        assert time.monotonic() < deadline, f"it did not happen in time: {found}"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data-gate") / "var") as started:
        yield started


@pytest.fixture(scope="module")
def team(app):
    return Team(app)


def begun_training(team: Team) -> str:
    """A real training on the bundled base, in its steps; returns its id."""
    file = team.upload("facts.jsonl", samples.path("larkspur-facts").read_bytes())["id"]
    team.checked(file)
    wish = {"quantisation": "nf4", "schedule": {"epochs": 20}, "data": {"sample_rows": 0, "validation_fraction": 0}}
    job = team.post("/v1/fine_tuning/jobs", {"model": BASE, "training_file": file, "tuneroom": wish})["id"]
    until(lambda: team.get(f"/api/v1/jobs/{job}").json(), lambda seen: seen["phase"] == "training")
    return job


@pytest.mark.timeout(900)
def test_from_an_odd_table_to_a_second_version(app: Running, team: Team):
    # Nothing fits; a person says what the columns are, after a look at the first rows.
    file = team.upload("eulen.csv", TABLE.encode())["id"]
    assert team.checked(file)["status"] == "error"
    mapping = {"instruction": "frage", "output": "antwort"}
    seen = team.post(f"/api/v1/files/{file}/columns", {"format": "alpaca", "mapping": mapping})
    assert seen["columns"] == ["frage", "antwort", "datum"] and len(seen["rows"]) == 3
    assert seen["rows"][0]["example"]["turns"][1]["content"] == ROWS[0][1] and seen["rows"][2]["problem"]
    assert team.post(f"/api/v1/files/{file}/reading", {"format": "alpaca", "mapping": mapping})["id"] == file
    checked = team.checked(file)
    assert (checked["status"], checked["tuneroom"]["usable_rows"], checked["tuneroom"]["rows"]) == ("processed", 4, 5)

    # The gate runs by itself; tokens are counted for a base.
    gate = until(lambda: team.reports(file)["gate"], lambda gate: gate["state"] == "done")
    assert (gate["report"]["rows"], gate["report"]["duplicates"]) == (4, 1)
    until(lambda: [model["id"] for model in team.get("/v1/models").json()["data"]], lambda names: BASE in names)
    counting = team.post(f"/api/v1/files/{file}/tokens", {"base": BASE})
    team.ended(counting["job"])
    (tokens,) = team.reports(file)["tokens"]
    report = tokens["report"]
    assert (tokens["base_name"], report["rows"]) == (BASE, 4) and 0 < report["trained_tokens"] < report["total_tokens"]
    assert team.post(f"/api/v1/files/{file}/tokens", {"base": BASE})["state"] == "done"

    # A row as it is trained, within five seconds, while a training runs.
    training = begun_training(team)
    for wish in ({"row": 2}, {"jump": "longest"}):
        began = time.monotonic()
        row = team.post(f"/api/v1/files/{file}/preview", {"base": BASE, "max_length": 512} | wish)
        assert time.monotonic() - began < PREVIEW_SECONDS
        (sequence,) = row["sequences"]
        trained = "".join(piece["text"] for piece in sequence["pieces"] if piece["trained"])
        assert ROWS[row["row"] - 1][1] in trained and ROWS[row["row"] - 1][0] not in trained
        assert sequence["trained_tokens"] > 0 and row["rows"] == 5
    assert team.get(f"/api/v1/jobs/{training}").json()["state"] == "running"
    team.post(f"/api/v1/jobs/{training}/cancel")

    # An edit is the next version; what changed can be seen, and both stay.
    turns = [{"role": "user", "content": "Wer füttert sie?"}, {"role": "assistant", "content": "Jonas, am Morgen."}]
    edits = [{"row": 2, "example": {"kind": "conversation", "turns": turns}}, {"row": 3, "example": None}]
    team.ended(team.post(f"/api/v1/files/{file}/edits", {"edits": edits}))
    dataset = checked["tuneroom"]["dataset"]
    second = team.get(f"/api/v1/datasets/{dataset}").json()["versions"][0]
    assert (second["tuneroom"]["version"], second["tuneroom"]["made_from"]) == (2, file)
    assert team.checked(second["id"])["tuneroom"]["usable_rows"] == 4
    compared = team.post(f"/api/v1/files/{second['id']}/compare", {"with": file})
    assert (compared["changed"], compared["added"], compared["removed"], compared["same"]) == (1, 0, 0, 3)

    # What leaves is the same bytes every time.
    first, again = (team.get(f"/api/v1/files/{second['id']}/messages.jsonl").content for _ in range(2))
    assert first == again and len(first.splitlines()) == 4
    assert json.loads(first.splitlines()[1])["messages"][1]["content"] == "Jonas, am Morgen."
    assert team.get(f"/v1/files/{file}/content").content == TABLE.encode()


@pytest.mark.timeout(300)
def test_rows_that_are_added_at_the_same_time_are_all_there(team: Team):
    file = team.upload("talks.jsonl", json.dumps(talk("First?")).encode())
    team.checked(file["id"])
    dataset = file["tuneroom"]["dataset"]
    jobs = [team.post(f"/api/v1/datasets/{dataset}/rows", {"rows": [talk(f"Next {n}?")]}) for n in range(4)]
    for job in jobs:
        team.ended(job)
    newest = team.get(f"/api/v1/datasets/{dataset}").json()["versions"][0]
    assert newest["tuneroom"]["version"] == 5
    team.checked(newest["id"])
    rows = team.get(f"/api/v1/files/{newest['id']}/messages.jsonl").text.splitlines()
    questions = [json.loads(row)["messages"][0]["content"] for row in rows]
    assert questions[0] == "First?" and set(questions[1:]) == {f"Next {n}?" for n in range(4)} and len(rows) == 5


def talk(question: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "Yes."}]}
