"""Saved conversations: private to their person, numbered by turn, cut off without loss; and five answers at a time."""

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import replace

import httpx
import pytest

from models.db.store.team import TeamStore
from models.domain.access import Role
from models.domain.chat import Delta, Failed, Loading, Waiting
from models.domain.errors import AppError, Code, NotFound
from models.infra import valkey
from models.infra.settings import Settings
from models.infra.streams import Streams
from tests.harness import wait_for
from tests.house import error_of, migrated_sqlite, open_house
from tests.webapp.scripted_worker import DONE, ScriptedWorker
from tests.webapp.served import serving
from webapp.actions.conversations import Pane, begin_conversation, open_conversation, title_of
from webapp.actions.talk import Talk, begin_turn

TWO = [
    {"number": 0, "model": "tiny", "sampling": {"seed": 7}},
    {"number": 1, "model": "other", "sampling": {"seed": 7}},
]
PANES = [Pane.model_validate(pane) for pane in TWO]


def call(house, person, method, path="", **body):
    return house.client.request(method, f"/api/v1/conversations{path}", headers=person.headers, json=body or None)


def begun(house, person, title="Hello there"):
    answered = call(house, person, "POST", panes=TWO, title=title)
    assert answered.status_code == 201
    return answered.json()["id"]


def answer(house, person, conversation, pane, turn, text):
    with house.deps.database.write() as session:
        TeamStore(session, person.principal).save_answer(
            conversation, pane=pane, turn=turn, content=text, model="tiny", made={"finish_reason": "stop"}
        )


def ask(house, person, conversation, prompt, only=None, panes=PANES):
    return begin_turn(house.deps, person.principal, conversation, panes=panes, prompt=prompt, only=only)


# whose they are


def test_a_conversation_is_opened_renamed_and_deleted_by_its_person_alone(house):
    anna = house.person()
    others = [
        house.person(), house.person(Role.OWNER), house.person(Role.VIEWER),
        house.person(Role.OWNER, house.team("others")),
    ]  # fmt: skip
    kept = begun(house, anna)
    ask(house, anna, kept, "A secret")
    for other in others:
        for method, body in (("GET", {}), ("PATCH", {"title": "Mine"}), ("PATCH", {"panes": TWO}), ("DELETE", {})):
            answered = call(house, other, method, f"/{kept}", **body)
            never_was = call(house, other, method, f"/{kept[:-4]}0000", **body)
            assert answered.status_code == never_was.status_code == 404
            assert error_of(answered)["message"].replace(kept, kept[:-4] + "0000") == error_of(never_was)["message"]
        assert call(house, other, "POST", f"/{kept}/turns", panes=TWO, prompt="Hi").status_code == 404
        assert call(house, other, "GET").json()["data"] == []
    assert call(house, anna, "PATCH", f"/{kept}", title="  Better\n name ").json()["title"] == "Better name"
    assert error_of(call(house, anna, "PATCH", f"/{kept}", title=" "))["param"] == "title"
    assert call(house, anna, "DELETE", f"/{kept}").status_code == 200
    assert call(house, anna, "GET", f"/{kept}").status_code == 404


def test_a_deleted_conversation_leaves_no_word_behind(house):
    from models.db.tables import Conversation, Message

    anna = house.person()
    kept = begun(house, anna, "About my salary")
    ask(house, anna, kept, "About my salary")
    call(house, anna, "DELETE", f"/{kept}")
    with house.deps.database.read() as session:
        row = session.get_one(Conversation, kept)
        assert (row.title, row.panes, session.query(Message).count()) == ("", [], 0)


def test_the_list_has_the_last_used_first_by_pages_and_by_words_of_the_title(house):
    anna = house.person()
    ids = [begun(house, anna, title) for title in ("Red roses", "Blue 100% sky", "Red sky")]
    time.sleep(0.01)  # SQLite's clock counts milliseconds
    ask(house, anna, ids[0], "Again")
    assert call(house, anna, "GET").json()["data"][0]["id"] == ids[0]
    first = call(house, anna, "GET", "?limit=2").json()
    rest = call(house, anna, "GET", f"?limit=2&after={first['data'][-1]['id']}").json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert {row["id"] for row in first["data"] + rest["data"]} == set(ids)
    assert {row["title"] for row in call(house, anna, "GET", "?q=sky red").json()["data"]} == {"Red sky"}
    assert {row["title"] for row in call(house, anna, "GET", "?q=100%25").json()["data"]} == {"Blue 100% sky"}


def test_a_viewer_keeps_conversations_too(house):
    viewer = house.person(Role.VIEWER)
    assert call(house, viewer, "GET", f"/{begun(house, viewer)}").status_code == 200


@pytest.mark.parametrize("panes", [[], TWO * 2, [TWO[0]], [{"number": n, "model": "tiny"} for n in range(5)]])
def test_one_to_four_panes_of_different_numbers(quick_house, panes):
    answered = call(quick_house, quick_house.person(), "POST", panes=panes)
    assert answered.status_code == (201 if panes == [TWO[0]] else 400)


# turns


def test_turns_restore_with_their_panes_settings_and_ends(house):
    anna = house.person()
    kept = begun(house, anna, "")
    first = ask(house, anna, kept, "What is\na heron?  " + "long " * 40)
    assert first.title == "What is a heron? long long long long long long long long long long long long…"
    answer(house, anna, kept, 0, 0, "A bird.")
    found = call(house, anna, "GET", f"/{kept}").json()
    assert [(pane["model"], pane["sampling"]["seed"]) for pane in found["panes"]] == [("tiny", 7), ("other", 7)]
    spoken = [(row["turn"], row["pane"], row["model"], row["text"][:7]) for row in found["messages"]]
    assert spoken == [(0, 0, None, "What is"), (0, 1, None, "What is"), (0, 0, "tiny", "A bird.")]


def test_each_pane_is_asked_its_own_thread_without_what_was_never_answered(house):
    anna = house.person()
    kept = begun(house, anna)
    ask(house, anna, kept, "One")
    answer(house, anna, kept, 0, 0, "1")
    answer(house, anna, kept, 1, 0, "uno")
    ask(house, anna, kept, "Two")
    answer(house, anna, kept, 0, 1, "2")
    kind = [PANES[0], PANES[1].model_copy(update={"system": "Be kind."})]
    asked = ask(house, anna, kept, "Three", panes=kind)
    threads = [[(turn["role"], turn["content"]) for turn in messages] for _, messages in asked.asked]
    assert threads[0] == [
        ("user", "One"), ("assistant", "1"), ("user", "Two"), ("assistant", "2"), ("user", "Three")
    ]  # fmt: skip
    assert threads[1] == [("system", "Be kind."), ("user", "One"), ("assistant", "uno"), ("user", "Three")]


def test_answering_again_asks_the_same_prompt_and_keeps_the_answer_until_there_is_a_new_one(house):
    anna = house.person()
    kept = begun(house, anna)
    ask(house, anna, kept, "One")
    answer(house, anna, kept, 0, 0, "1")
    again = ask(house, anna, kept, None, only=[0])
    assert (again.turn, [messages for _, messages in again.asked]) == (0, [({"role": "user", "content": "One"},)])
    assert open_conversation(house.deps, anna.principal, kept)[1][-1].text == "1"
    answer(house, anna, kept, 0, 0, "one")
    assert open_conversation(house.deps, anna.principal, kept)[1][-1].text == "one"


def test_a_pane_that_came_later_answers_the_last_prompt_and_one_that_went_takes_its_thread(house):
    anna = house.person()
    kept = begun(house, anna)
    ask(house, anna, kept, "One", panes=PANES[:1])
    late = ask(house, anna, kept, None, only=[1])
    assert late.asked[0][1] == ({"role": "user", "content": "One"},)
    call(house, anna, "PATCH", f"/{kept}", panes=TWO[1:])  # as a page does that knows fewer panes
    assert {row.pane for row in open_conversation(house.deps, anna.principal, kept)[1]} == {0, 1}
    call(house, anna, "PATCH", f"/{kept}", panes=TWO[1:], removed=[0, 1])
    assert {row.pane for row in open_conversation(house.deps, anna.principal, kept)[1]} == {1}


def test_nothing_to_answer_and_nothing_to_answer_again_are_sentences(quick_house):
    anna = quick_house.person()
    kept = begun(quick_house, anna)
    assert error_of(call(quick_house, anna, "POST", f"/{kept}/turns", panes=TWO, prompt=" \n"))["param"] == "prompt"
    assert call(quick_house, anna, "POST", f"/{kept}/turns", panes=TWO).status_code == 404
    assert call(quick_house, anna, "POST", f"/{kept}/turns", panes=TWO, prompt="x", only=[9]).status_code == 400


def test_titles_are_cut_at_a_word():
    assert title_of("word " * 40) == "word " * 14 + "word…"
    assert len(title_of("x" * 200)) == 80


# through the broker


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    settings = migrated_sqlite(Settings(data_dir=tmp_path_factory.mktemp("talk"), answer_seconds=6, lease_seconds=1))
    broker = valkey.start(settings)
    assert broker is not None
    house = open_house(settings)
    house.base("tiny")
    house.base("other")
    with serving(house) as running:
        yield running
    house.deps.close()
    broker.stop()


@pytest.fixture
def worker(served):
    started = ScriptedWorker(served.house.deps.settings)
    yield started
    started.close()


def events_of(response: httpx.Response) -> list:
    lines = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
    return [json.loads(line) if line != "[DONE]" else line for line in lines]


def turn(served, person, conversation, **body):
    url = f"{served.url}/api/v1/conversations/{conversation}/turns"
    return httpx.stream("POST", url, json={"panes": TWO} | body, headers=person.headers, trust_env=False, timeout=20)


def by_pane(events: list, pane: int) -> list[str]:
    return [event["type"] for event in events if event != "[DONE]" and event.get("pane") == pane]


def test_one_prompt_and_one_seed_reach_every_pane_and_their_answers_are_saved(served, worker):
    anna = served.house.person()
    kept = begun(served.house, anna)
    worker.script = (Waiting(ahead=1), Loading(what="tiny"), Delta(text="Bon"), Delta(text="jour"), DONE)
    with turn(served, anna, kept, prompt="Hi") as response:
        events = events_of(response)
    for pane in (0, 1):
        assert by_pane(events, pane) == ["put", "waiting", "loading", "delta", "delta", "done"]
    assert events[-1] == "[DONE]"
    assert {request.model.public_id for request in worker.requests} == {"tiny", "other"}
    assert {(r.sampling.seed, r.messages[0]["content"]) for r in worker.requests} == {(7, "Hi")}
    spoken = open_conversation(served.house.deps, anna.principal, kept)[1]
    assert [(row.text, row.made["tokens_per_second"]) for row in spoken if row.made] == [("Bonjour", 9.0)] * 2


def test_a_pane_that_fails_leaves_the_others_alone(served, worker):
    anna = served.house.person()
    kept = begun(served.house, anna)
    full = AppError("The messages are too long.", code=Code.CONTEXT_TOO_LONG)
    worker.script = lambda request: (
        (Failed(error=full.to_json()),) if request.model.public_id == "tiny" else (Delta(text="Hi"), DONE)
    )
    gone = [*TWO, {"number": 2, "model": "ft:gone"}]
    with turn(served, anna, kept, prompt="Hi", panes=gone) as response:
        events = events_of(response)
    assert by_pane(events, 0)[-1] == by_pane(events, 2)[-1] == "failed"
    assert by_pane(events, 1)[-1] == "done"
    failed = {event["pane"]: event["error"]["code"] for event in events[:-1] if event["type"] == "failed"}
    assert failed == {0: "context_length_exceeded", 2: "model_not_found"}


def test_who_leaves_stops_every_pane_and_what_had_come_is_kept(served, worker):
    anna = served.house.person()
    kept = begun(served.house, anna)
    worker.script = (Delta(text="Bon"),)
    with turn(served, anna, kept, prompt="Hi") as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and sum(len(r.messages) for r in worker.requests) == 2 and "delta" in line:
                break
        time.sleep(0.2)
    streams = served.house.deps.streams
    assert wait_for(lambda: all(streams.stop_asked(request.request_id) for request in worker.requests), 3)

    def answers():
        spoken = open_conversation(served.house.deps, anna.principal, kept)[1]
        return [(row.pane, row.text, row.made["finish_reason"]) for row in spoken if row.made]

    assert wait_for(lambda: len(answers()) == 2, 3)
    assert answers() == [(0, "Bon", "stopped"), (1, "Bon", "stopped")]


def test_a_task_that_is_cancelled_in_the_middle_stops_and_saves_as_well(served, worker):
    """What a server does to its streams when it ends."""
    anna = served.house.person()
    # Streams belong to one event loop, and the server's still has its own.
    deps = replace(served.house.deps, streams=Streams(served.house.deps.settings.redis_py_url))
    kept = begin_conversation(deps, anna.principal, PANES[:1], "").id
    worker.script = (Delta(text="Bon"),)

    async def cut_off():
        talk = Talk(deps, anna.principal, begin_turn(deps, anna.principal, kept, panes=PANES[:1], prompt="Hi"))
        async with aclosing(talk):
            while (heard := await talk.next(5)) and not isinstance(heard[1], Delta):
                pass
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(cut_off())
        await asyncio.sleep(0.7)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await deps.streams.close_async()

    asyncio.run(main())
    assert deps.streams.stop_asked(worker.requests[0].request_id)
    assert open_conversation(deps, anna.principal, kept)[1][-1].text == "Bon"


def test_a_conversation_deleted_while_it_is_answered_stays_deleted(served, worker):
    anna = served.house.person()
    kept = begun(served.house, anna)

    def script(request):
        yield Delta(text="Bon")
        call(served.house, anna, "DELETE", f"/{kept}")
        yield DONE

    worker.script = script
    with turn(served, anna, kept, prompt="Hi", only=[0]) as response:
        assert by_pane(events_of(response), 0)[-1] == "done"
    with pytest.raises(NotFound):
        open_conversation(served.house.deps, anna.principal, kept)


def test_a_person_has_five_answers_at_a_time_everywhere_together(served, worker):
    anna, bert = served.house.person(), served.house.person()
    worker.script = (Delta(text="Bon"),)
    four = [{"number": n, "model": "tiny"} for n in range(4)]
    one, two = begun(served.house, anna), begun(served.house, anna)

    def completion(person):
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        url = f"{served.url}/v1/chat/completions"
        return httpx.stream("POST", url, json=body, headers=person.headers, trust_env=False, timeout=20)

    with turn(served, anna, one, prompt="Hi", panes=four), completion(anna):
        assert wait_for(lambda: len(worker.requests) == 5, 5)
        with completion(anna) as refused:
            refused.read()
            assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limited")
            assert "5 answers running" in error_of(refused)["message"]
        with turn(served, anna, two, prompt="Hi", only=[0]) as response:
            assert by_pane(events_of(response), 0) == ["failed"]
        with completion(bert) as allowed:
            assert allowed.status_code == 200
    worker.script = (Delta(text="Bon"), DONE)

    def is_free():
        with completion(anna) as response:
            return response.status_code == 200

    assert wait_for(is_free, 3)


def test_what_a_dead_process_left_running_is_not_counted_for_long(served):
    streams = served.house.deps.streams
    for number in range(5):
        streams._redis.zadd("tuneroom:answers:user-x", {f"dead-{number}": 1})  # no reader, as after kill -9
    streams.announce_reader("alive")
    assert streams.take_place("user-x", "alive", 5)


def test_the_playground_names_its_models_in_words(served):
    house = served.house
    anna = house.person()
    base = house.client.get("/api/v1/bases", headers=anna.headers).json()["data"][0]
    adapter = house.trained(anna, base["id"])[1]
    house.merged(anna, adapter)
    shown = house.client.get("/api/v1/playground", headers=anna.headers).json()
    assert shown["has_worker"] is False
    kinds = {model["kind"]: model for model in shown["models"]}
    assert set(kinds) == {"base", "adapter", "merge"}
    assert kinds["adapter"]["id"] == adapter
    assert kinds["adapter"]["what"] == f"adapter on {base['model']}"
    assert (kinds["adapter"]["precision"], kinds["base"]["precision"]) == ("NF4", "full precision")
