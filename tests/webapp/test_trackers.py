"""Trackers over HTTP and on the pages: owners alone, no address of this network, and no way to get a token back."""

import pytest
from sqlalchemy import select

from models.db.store.system import SystemStore
from models.db.tables import Job, TrackedRun, Tracker
from models.domain.access import Role
from models.infra.secrets import open_sealed
from tests.browser import chromium, site
from tests.house import error_of, house, quick_house
from tests.runs import Run

__all__ = ["chromium", "house", "quick_house", "site"]

SECRET = "s3cret-of-the-tracker"
SERVER = {"kind": "mlflow", "options": {"address": "https://mlflow.example.org/"}, "token": SECRET}


def add(house, person, **changed):
    return house.client.post("/api/v1/trackers", json=SERVER | changed, headers=person.headers)


def test_an_owner_adds_switches_off_and_deletes_a_tracker(house):
    owner = house.person(Role.OWNER)
    made = add(house, owner)
    assert made.status_code == 201, made.text
    seen = made.json()
    assert seen["options"] == {"address": "https://mlflow.example.org", "experiment": "tuneroom"}
    assert (seen["has_token"], seen["is_on"], seen["is_being_tried"], seen["problem"]) == (True, True, True, None)
    path = f"/api/v1/trackers/{seen['id']}"
    with house.deps.database.write() as session:
        SystemStore(session).tracker_checked(seen["id"], "no such server.")
    off = house.client.patch(path, json={"is_on": False}, headers=owner.headers).json()
    assert (off["is_on"], off["is_being_tried"]) == (False, True)
    assert house.client.post(f"{path}/try", headers=owner.headers).status_code == 202
    assert house.client.delete(path, headers=owner.headers).json()["deleted"]
    assert house.client.get("/api/v1/trackers", headers=owner.headers).json()["data"] == []


def test_a_token_is_sealed_and_in_no_answer(house):
    owner = house.person(Role.OWNER)
    answers = [add(house, owner).text, house.client.get("/api/v1/trackers", headers=owner.headers).text]
    assert not any(SECRET in answer for answer in answers)
    with house.deps.database.read() as session:
        row = session.scalars(select(Tracker)).one()
    assert row.sealed is not None and SECRET.encode() not in row.sealed
    assert open_sealed(house.deps.secret_key, row.team_id, row.sealed) == SECRET


def test_members_and_other_teams_neither_see_nor_change_trackers(quick_house):
    owner, member = quick_house.person(Role.OWNER), quick_house.person()
    stranger = quick_house.person(Role.OWNER, quick_house.team("others"))
    tracker = add(quick_house, owner).json()["id"]
    client = quick_house.client
    assert client.get("/api/v1/trackers", headers=member.headers).status_code == 403
    assert add(quick_house, member).status_code == 403
    assert client.get("/api/v1/trackers", headers=stranger.headers).json()["data"] == []
    assert client.delete(f"/api/v1/trackers/{tracker}", headers=stranger.headers).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000", "http://localhost", "http://2130706433", "http://[::1]", "http://[::ffff:10.0.0.1]",
        "http://169.254.169.254/latest", "http://mlflow", "http://printer.local", "http://0x7f.1", "http://127.1",
    ],
)  # fmt: skip
def test_addresses_of_this_network_are_refused(quick_house, address):
    refused = add(quick_house, quick_house.person(Role.OWNER), options={"address": address})
    assert refused.status_code == 403 and "TUNEROOM_TRACKER_HOSTS" in error_of(refused)["message"], refused.text


def test_what_is_wrong_is_said_beside_its_field(quick_house):
    owner = quick_house.person(Role.OWNER)
    for changed, param, words in (
        ({"kind": "ours"}, "kind", "is no tracker; the trackers are mlflow, tensorboard"),
        ({"options": {}}, "options.address", "is missing"),
        ({"options": {"address": "ftp://a.example"}}, "options.address", "is no address of an MLflow server"),
        ({"options": {"address": "https://a:b@a.example"}}, "options.address", "Enter a password as the token"),
        ({"kind": "tensorboard", "options": {}}, "token", "takes no token"),
        ({"kind": "wandb", "options": {}, "token": ""}, "token", "needs a token (API key)"),
        ({"token": "two\nlines"}, "token", "That is no token"),
    ):
        error = error_of(add(quick_house, owner, **changed))
        assert error["param"] == param and words in error["message"], error
    local = add(quick_house, owner, options={"address": "local"})
    assert local.status_code == 403 and "TUNEROOM_TRACKER_LOCAL=true" in error_of(local)["message"]
    other = add(quick_house, owner, kind="wandb", options={"address": "https://wandb.example.org"})
    assert other.status_code == 403 and "TUNEROOM_TRACKER_HOSTS" in error_of(other)["message"]


def test_a_training_is_an_event_file_to_download_and_other_jobs_are_none(quick_house):
    anna, eve = quick_house.person(), quick_house.person(team=quick_house.team("other"))
    run = Run(quick_house, anna, base=quick_house.base()).claim().feed(range(1, 701), 700, every=100)
    path = f"/api/v1/jobs/{run.id}/tensorboard"
    so_far = quick_house.client.get(path, headers=anna.headers)
    assert so_far.headers["content-disposition"].endswith(f'tfevents.{run.id}"')
    run.succeed()
    whole = quick_house.client.get(path, headers=anna.headers).content
    assert whole[: len(so_far.content)] == so_far.content and len(whole) > len(so_far.content)
    assert whole.count(b"train/loss") == 700 and whole.count(b"eval/loss") == 7
    for who, which in ((eve, run.id), (anna, "ftjob-nowhere")):
        gone = quick_house.client.get(f"/api/v1/jobs/{which}/tensorboard", headers=who.headers)
        assert gone.status_code == 404


def test_an_owner_adds_a_tracker_in_a_browser_and_the_run_page_leads_to_it(site):
    owner, viewer = site.person(Role.OWNER), site.person(Role.VIEWER)
    page = site.page(owner, "/team")
    page.get_by_text("MLflow").first.click()
    form = page.locator("form", has_text="Add MLflow")
    form.get_by_label("Tracking server").fill("http://10.0.0.1")
    form.get_by_label("Token").fill(SECRET)
    form.get_by_text("Add MLflow").click()
    form.get_by_text("TUNEROOM_TRACKER_HOSTS").wait_for()
    form.get_by_label("Tracking server").fill("https://mlflow.example.org")
    form.get_by_text("Add MLflow").click()
    row = page.locator("tr", has_text="https://mlflow.example.org")
    row.get_by_text("being tried").wait_for()
    house = site.house
    with house.deps.database.write() as session:
        tracker = session.scalars(select(Tracker)).one()
        store = SystemStore(session)
        store.tracker_checked(tracker.id, "it did not answer within 60 s.")
        tracker_id = tracker.id
    page.get_by_text("Look again").click()
    row.get_by_text("it did not answer within 60 s.").wait_for()
    run = Run(house, owner, base=house.base()).claim().feed(range(1, 4), 9)
    with house.deps.database.write() as session:
        SystemStore(session).begin_tracking([(tracker_id, run.id)])
        url = "https://mlflow.example.org/#/runs/1"
        SystemStore(session).told_until(tracker_id, run.id, step=2, mark=None, url=url, is_done=False, again_after=600)
        assert session.get_one(TrackedRun, (tracker_id, run.id)).url == url and session.get_one(Job, run.id)
    shown = site.page(viewer, f"/run?id={run.id}")
    assert shown.get_by_text("its page there").get_attribute("href") == url
    assert SECRET not in shown.content() + page.content()
    other = site.page(viewer, "/team")
    other.get_by_text("Links in force").wait_for()
    assert other.get_by_text("Add a tracker").count() == 0
    row.get_by_text("Switch off").click()
    row.get_by_text("Switch on").wait_for()
    row.get_by_text("Delete").click()
    page.get_by_text("Delete it").click()
    page.get_by_text("None yet.").wait_for()
