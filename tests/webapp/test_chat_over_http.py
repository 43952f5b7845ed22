"""/v1/chat/completions through the official client, a real server and a real broker; the model alone is scripted."""

import json
import time

import httpx
import openai
import pytest

from models.db.store.system import SystemStore
from models.db.tables import Worker, db_now
from models.domain.chat import Delta, Failed, Loading, Waiting
from models.domain.errors import AppError, Code, Invalid
from models.domain.ids import new_id
from models.domain.training import Quantisation
from models.infra import valkey
from models.infra.settings import Settings
from tests.harness import wait_for
from tests.house import error_of, migrated_sqlite, open_house
from tests.webapp.scripted_worker import ScriptedWorker
from tests.webapp.served import serving

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    home = tmp_path_factory.mktemp("chat")
    limits = {"answer_seconds": 4, "lease_seconds": 1, "max_upload_bytes": 2_000_000}
    settings = migrated_sqlite(Settings(data_dir=home, **limits))
    broker = valkey.start(settings)
    house = open_house(settings)
    house.base()
    with serving(house) as running:
        yield running
    house.deps.close()
    broker.stop()


@pytest.fixture
def worker(served):
    database = served.house.deps.database
    row = Worker(id=new_id("worker"), host="h", pid=1, lane="chat", device="cpu", slots=1, seen_at=db_now(600))
    with database.write() as session:
        SystemStore(session).worker_started(row)
    started = ScriptedWorker(served.house.deps.settings)
    yield started
    started.close()
    with database.write() as session:
        SystemStore(session).worker_stopped(row.id)


@pytest.fixture(scope="module")
def anna(served):
    return served.house.person()


@pytest.fixture
def client(served, anna):
    with served.openai(anna) as opened:
        yield opened


def test_a_whole_answer_is_openais_object(client, worker):
    answer = client.chat.completions.create(model="tiny", messages=HI)
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.role, choice.finish_reason) == ("Bonjour é", "assistant", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 3, 10)
    assert answer.id == worker.requests[0].request_id
    assert answer.model == "tiny"


def test_a_streamed_answer_comes_piece_by_piece_and_ends_with_its_reason_and_usage(client, worker):
    stream = client.chat.completions.create(
        model="tiny", messages=HI, stream=True, stream_options={"include_usage": True}
    )  # fmt: skip
    chunks = list(stream)
    assert [c.choices[0].delta.content for c in chunks if c.choices] == ["", "Bon", "jour ", "é", None]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 10


def test_the_stream_ends_with_done_for_those_who_wait_for_it(served, anna, worker):
    response = httpx.post(
        f"{served.url}/v1/chat/completions", json={"model": "tiny", "messages": HI, "stream": True},
        headers=anna.headers, trust_env=False,
    )  # fmt: skip
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


def test_the_worker_is_told_the_sampling_and_plain_messages(client, worker):
    client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]},
        ],
        temperature=0, top_p=0.5, max_completion_tokens=9, seed=3, stop=["x", "y"], user="u", store=False,
    )  # fmt: skip
    asked = worker.requests[0]
    assert asked.messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
    assert asked.sampling.model_dump() == {
        "temperature": 0, "top_p": 0.5, "max_tokens": 9, "seed": 3, "stop": ("x", "y"),
    }  # fmt: skip


def test_an_adapter_is_asked_for_on_the_weights_it_was_trained_on_and_a_merge_on_its_own(served, anna, client, worker):
    base_id = client.models.retrieve("tiny").tuneroom["id"]
    adapter = served.house.trained(anna, base_id)[1]
    merge = served.house.merged(anna, adapter)[1]
    for model in (adapter, merge, "tiny"):
        client.chat.completions.create(model=model, messages=HI)
    on_adapter, on_merge, on_base = (request.model for request in worker.requests)
    assert (on_adapter.quantisation, on_adapter.base) == (Quantisation.NF4, on_base.base)
    assert on_adapter.adapter is not None
    assert (on_merge.quantisation, on_merge.adapter) == (Quantisation.NONE, None)
    assert (on_base.quantisation, on_base.adapter) == (Quantisation.NONE, None)


@pytest.mark.parametrize("stream", [True, False])
def test_what_fails_before_the_first_token_fails_with_a_typed_error(client, worker, stream):
    error = Invalid("The messages have 900 tokens; the model reads 512.", code=Code.CONTEXT_TOO_LONG, param="messages")
    worker.script = (Waiting(ahead=1), Loading(what="tiny"), Failed(error=error.to_json()))
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=HI, stream=stream)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
    assert len(worker.requests) == 1


def test_a_failure_in_mid_stream_is_told_in_the_stream(client, worker):
    worker.script = (Delta(text="Bon"), Failed(error=AppError("The worker is ending.", code=Code.INTERNAL).to_json()))
    heard = []
    with pytest.raises(openai.APIError, match="The worker is ending"):
        for chunk in client.chat.completions.create(model="tiny", messages=HI, stream=True):
            heard.append(chunk.choices[0].delta.content)
    assert heard == ["", "Bon"]


def test_who_leaves_in_mid_stream_stops_the_work(served, client, worker):
    worker.script = (Delta(text="Bon"),)
    stream = client.chat.completions.create(model="tiny", messages=HI, stream=True)
    next(iter(stream))
    request_id = worker.requests[0].request_id
    assert not served.house.deps.streams.stop_asked(request_id)
    stream.close()
    assert wait_for(lambda: served.house.deps.streams.stop_asked(request_id), 5)


def test_who_leaves_while_waiting_for_a_whole_answer_stops_the_work(served, anna, worker):
    worker.script = ()
    with pytest.raises(openai.APITimeoutError):
        served.openai(anna, timeout=0.3, max_retries=0).chat.completions.create(model="tiny", messages=HI)
    request_id = wait_for(lambda: worker.requests)[0].request_id
    assert wait_for(lambda: served.house.deps.streams.stop_asked(request_id), 3)  # before the silence would end it


def test_an_ended_answer_asks_nobody_to_stop(served, client, worker):
    client.chat.completions.create(model="tiny", messages=HI)
    time.sleep(0.1)
    assert not served.house.deps.streams.stop_asked(worker.requests[0].request_id)


def test_silence_ends_as_timed_out_and_is_not_tried_again(served, client, worker):
    worker.script = ()
    with pytest.raises(openai.InternalServerError) as ended:
        client.chat.completions.create(model="tiny", messages=HI)
    assert (ended.value.status_code, ended.value.code) == (503, "timed_out")
    assert len(worker.requests) == 1


def test_without_a_chat_worker_the_wait_is_short_and_says_so(client):
    with pytest.raises(openai.InternalServerError, match="No chat worker is running"):
        client.chat.completions.create(model="tiny", messages=HI)


def test_two_answers_at_once_do_not_mix(client, worker):
    one = client.chat.completions.create(model="tiny", messages=HI, stream=True)
    two = client.chat.completions.create(model="tiny", messages=HI, stream=True)
    for stream in (two, one):
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Bonjour é"


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": list("abcde")}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_we_cannot_do_is_refused_by_name_and_never_asked(quick_house, wish, param):
    body = {"model": "tiny", "messages": HI} | wish
    response = quick_house.client.post("/v1/chat/completions", json=body, headers=quick_house.person().headers)
    assert (response.status_code, error_of(response)["param"]) == (400, param)


def test_a_broker_that_is_away_is_a_sentence_at_once(quick_house):
    quick_house.base()
    response = quick_house.client.post(
        "/v1/chat/completions", json={"model": "tiny", "messages": HI}, headers=quick_house.person().headers
    )  # fmt: skip
    assert (response.status_code, error_of(response)["code"]) == (503, "unavailable")
    assert response.headers["x-should-retry"] == "false"


def test_each_error_reaches_the_official_client_as_its_type_after_one_request(served, anna, client):
    stranger = served.openai(anna).with_options(api_key="tr-unknown")
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.NotFoundError) as lost:
        client.models.retrieve("org/none")
    assert lost.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("x.docx", b"a"), purpose="fine-tune")
    assert refused.value.code == "invalid_file"
    file = client.files.create(file=("x.jsonl", b"{}"), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
    client.fine_tuning.jobs.cancel(job.id)
    before = len(served.requests)
    with pytest.raises(openai.ConflictError, match="already cancelled"):
        client.fine_tuning.jobs.cancel(job.id)
    assert len(served.requests) - before == 1


def test_an_upload_far_over_the_limit_is_answered_before_it_is_sent(served, anna, client):
    limit = served.house.deps.settings.max_upload_bytes
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=("big.jsonl", b"x" * (limit + 20_000_000)), purpose="fine-tune")
    assert (refused.value.status_code, json.loads(refused.value.response.text)["error"]["code"]) == (413, "too_large")
