"""Continuing from an adapter, as people ask for it: the button, the form, the interface, and who may not."""

from models.domain.access import Role
from tests.house import house, quick_house
from webapp.actions.continuing import settings_to_continue
from webapp.views import train_wish

__all__ = ["house", "quick_house"]


def ask(house, person, file: str, **knobs):
    body = {"model": "tiny", "training_file": file, "tuneroom": knobs}
    return house.client.post("/v1/fine_tuning/jobs", json=body, headers=person.headers)


def test_a_program_names_the_adapter_and_gets_its_method_and_quantisation(quick_house):
    person = quick_house.person()
    _, adapter = quick_house.trained(person, quick_house.base())
    file = quick_house.upload(person).json()["id"]
    made = ask(quick_house, person, file, start_adapter=adapter).json()
    job = quick_house.client.get(f"/api/v1/jobs/{made['id']}", headers=person.headers).json()
    assert job["spec"]["start_adapter"] == adapter
    assert (job["spec"]["method"]["options"]["rank"], job["spec"]["quantisation"]) == (4, "nf4")


def test_another_method_or_another_teams_adapter_is_refused_beside_its_field(quick_house):
    person, base = quick_house.person(), quick_house.base()
    stranger = quick_house.person(Role.OWNER, quick_house.team("others"))
    adapters = [quick_house.trained(one, base)[1] for one in (person, stranger)]
    file = quick_house.upload(person).json()["id"]
    method = {"name": "lora", "options": {"rank": 8}}
    refused = ask(quick_house, person, file, start_adapter=adapters[0], method=method)
    assert refused.status_code == 400 and "its rank is 4" in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == "start_adapter"
    absent = ask(quick_house, person, file, start_adapter=adapters[1])
    assert absent.status_code == 404 and absent.json()["error"]["param"] == "start_adapter"


def test_the_form_opens_with_the_adapters_settings_and_no_rows(quick_house):
    person, base = quick_house.person(), quick_house.base()
    _, adapter = quick_house.trained(person, base)
    typed = train_wish.typed_of(settings_to_continue(quick_house.deps, person.principal, adapter))
    assert (typed["base"], typed["spec.start_adapter"], typed["lora.options.rank"]) == (base, adapter, "4")
    assert typed["data.training_file"] is None
    checked = train_wish.check(typed | {"data.training_file": "file-1"})
    assert checked.spec is not None and checked.spec.start_adapter == adapter


def test_an_empty_field_begins_afresh():
    checked = train_wish.check(train_wish.typed_of(train_wish.spec_of(train_wish.HOUSE)))
    assert checked.spec is not None and checked.spec.start_adapter is None
