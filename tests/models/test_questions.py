"""Short questions over a real broker: one answer, in time or not at all, and not too many at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from models.domain.errors import AppError, Code, Invalid, Unavailable
from models.domain.job import Lane
from models.domain.question import Answered, FileRef, ReadColumns
from models.infra import valkey
from models.infra.answers import Answers
from models.infra.broker import Broker
from models.infra.questions import AT_ONCE, Questions
from models.infra.settings import Settings

ASKED = ReadColumns(files=(FileRef(scope="team/a", sha256="a" * 64, filename="a.csv"),))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    made = Settings(data_dir=tmp_path_factory.mktemp("questions"))
    server = valkey.start(made)
    yield made
    server.stop()


@pytest.fixture
def questions(settings):
    broker = Broker(settings)
    opened = Questions(broker, settings.redis_py_url)
    yield opened
    opened.close()
    broker.close()


def waiting_ids(settings) -> list[str]:
    """Which questions are waited for, by the set of one person."""
    redis = Redis.from_url(settings.redis_py_url, decode_responses=True)
    try:
        return redis.zrange("tuneroom:questions:anna", 0, -1)  # type: ignore[return-value]
    finally:
        redis.close()


def answering(settings, answered: Answered) -> threading.Thread:
    """Answers the first question that anna asks."""

    def answer() -> None:
        while not (ids := waiting_ids(settings)):
            time.sleep(0.01)
        Answers(settings.redis_py_url).tell(ids[0], answered)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_an_answer_reaches_who_asked_and_leaves_nothing(settings, questions):
    thread = answering(settings, Answered(answer={"columns": ["a"]}))
    assert questions.ask(ASKED, 5, "anna") == {"columns": ["a"]}
    thread.join()
    assert waiting_ids(settings) == []
    redis = Redis.from_url(settings.redis_py_url)
    assert not list(redis.scan_iter("tuneroom:question:*"))
    assert redis.llen(f"tuneroom:{Lane.LIGHT}") == 1  # the message, which nobody took
    redis.close()


def test_an_error_is_raised_as_the_worker_raised_it(settings, questions):
    fault = Invalid("the file has no rows.", code=Code.INVALID_FILE, row=3)
    thread = answering(settings, Answered(error=fault.to_json()))
    with pytest.raises(Invalid, match="no rows") as raised:
        questions.ask(ASKED, 5, "anna")
    thread.join()
    assert (raised.value.code, raised.value.facts) == (Code.INVALID_FILE, {"row": 3})


def test_nobody_waits_longer_than_was_said(settings, questions):
    began = time.monotonic()
    with pytest.raises(Unavailable, match="No answer came within 0 s") as raised:
        questions.ask(ASKED, 0.3, "anna")
    assert raised.value.code == Code.TIMED_OUT and time.monotonic() - began < 3
    assert waiting_ids(settings) == []


def test_one_person_waits_for_so_many_at_a_time_and_others_for_theirs(questions):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(questions.ask, ASKED, 1.5, "bert") for _ in range(AT_ONCE)]
        time.sleep(0.7)
        with pytest.raises(AppError, match="the most at a time") as refused:
            questions.ask(ASKED, 1, "bert")
        assert refused.value.code == Code.RATE_LIMITED
        with pytest.raises(Unavailable):
            questions.ask(ASKED, 0.1, "cleo")
        assert all(isinstance(each.exception(), Unavailable) for each in waiting)
    with pytest.raises(Unavailable):  # the places are free again
        questions.ask(ASKED, 0.1, "bert")


def test_a_broker_that_is_away_is_said(tmp_path):
    settings = Settings(data_dir=tmp_path)
    broker = Broker(settings)
    with pytest.raises(Unavailable, match="broker does not answer"):
        Questions(broker, settings.redis_py_url).ask(ASKED, 1, "anna")
