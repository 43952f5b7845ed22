"""The chat worker as a process: real broker, real storage, real streams, a tiny model."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from models.db.engine import Database
from models.db.migrations import migrate
from models.db.store.system import SystemStore
from models.domain.chat import ChatRequest, Delta, Done, Failed, Sampling, ServedModel, TreeRef
from models.domain.errors import Code, Unavailable
from models.domain.training import Quantisation
from models.infra import valkey
from models.infra.broker import Broker
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from models.infra.streams import Streams
from tests.adapters import random_adapter
from tests.tiny import tiny_base
from worker.chat_app import resident_bytes

ROOT = str(Path(__file__).parents[2])


class House:
    """A broker, a storage with a base and an adapter, and one chat worker."""

    def __init__(self, root: Path) -> None:
        self.settings = Settings(data_dir=root, chat_memory_bytes=10**9, chat_device_memory_bytes=2 * 10**9, threads=1)
        self.valkey = valkey.start(self.settings)
        self.broker, self.streams = Broker(self.settings), Streams(self.settings.redis_py_url)
        self.database = Database(self.settings.database)
        migrate(self.database)
        storage = Storage(self.settings.storage)
        base = tiny_base(root / "made/base")
        self.base, _ = storage.put_tree(SHARED, base)
        self.adapter, _ = storage.put_tree(
            "team/1", random_adapter(root / "made/adapter", base, tree_sha256=self.base.sha256)
        )
        self.worker = self.start_worker()

    def start_worker(self) -> subprocess.Popen:
        with (self.settings.data_dir / "chat.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.chat_app"], stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, **self.settings.child_environment(), "PYTHONPATH": ROOT, "TUNEROOM_KEPT": "1"},
            )  # fmt: skip

    def request(self, adapter: TreeRef | None = None, seconds: float = 60, **sampling) -> ChatRequest:
        model = ServedModel(public_id="tiny", base=self.base, quantisation=Quantisation.NF4, adapter=adapter)
        return ChatRequest(
            request_id=uuid4().hex, model=model, messages=({"role": "user", "content": "hello"},),
            sampling=Sampling(**{"max_tokens": 8, "seed": 1, **sampling}),
            deadline_at=datetime.now(UTC) + timedelta(seconds=seconds),
        )  # fmt: skip

    def ask(self, request: ChatRequest) -> str:
        """Send as the web side does: announce the reader, then ask."""
        self.streams.announce_reader(request.request_id)
        self.broker.ask(request.model_dump_json())
        return request.request_id

    def hear(self, request: ChatRequest) -> list:
        return [event for _, event in self.streams.follow(self.ask(request), silence_seconds=60)]

    def live_workers(self) -> list:
        with self.database.read() as session:
            return SystemStore(session).workers(60)

    def close(self) -> None:
        self.worker.terminate()
        self.worker.wait(30)
        self.broker.close()
        self.valkey.stop()


@pytest.mark.parametrize(
    ("device", "cap", "kept"),
    [("cuda:0", 3 * 10**9, 3), ("cuda:0", 9 * 10**9, 4), ("cuda:0", None, 4), ("cpu", 10**9, 4)],
)
def test_resident_models_stay_below_the_cap_of_the_gpu(device, cap, kept):
    assert resident_bytes(Settings(chat_device=device, chat_device_memory_bytes=cap)) == kept * 10**9


@pytest.fixture(scope="module")
def house():
    with TemporaryDirectory(prefix="tr-") as folder:  # short: a socket's path has a limit
        opened = House(Path(folder))
        yield opened
        opened.close()


def test_an_answer_comes_through_broker_storage_and_stream(house):
    plain, adapted = house.hear(house.request()), house.hear(house.request(house.adapter))
    for events in (plain, adapted):
        assert isinstance(events[-1], Done), events
    assert words(plain) != words(adapted)
    assert words(house.hear(house.request())) == words(plain)


def test_a_cap_on_device_memory_is_said_to_have_no_effect_on_a_cpu(house):
    house.hear(house.request())
    assert "cap on device memory has no effect on cpu" in (house.settings.data_dir / "chat.log").read_text()


def test_the_worker_is_seen_in_the_database_and_leaves_it_when_its_keeper_ends(house):
    house.hear(house.request())
    assert [(seen.lane, seen.device) for seen in house.live_workers()] == [("chat", "cpu")]
    house.worker.stdin.close()
    assert house.worker.wait(30) == 0
    assert house.live_workers() == []
    house.worker = house.start_worker()


def words(events: list) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_a_fault_is_told_as_a_sentence_without_a_path(house):
    lost = TreeRef(scope="team/1", sha256="f" * 64)
    last = house.hear(house.request(adapter=lost))[-1]
    assert isinstance(last, Failed)
    assert last.error["code"] == Code.NOT_FOUND
    assert str(house.settings.data_dir) not in str(last.error)


def test_stop_ends_the_answer_between_two_tokens(house):
    name = house.ask(house.request(max_tokens=480, temperature=1.9))
    house.streams.ask_stop(name)
    last = [event for _, event in house.streams.follow(name, silence_seconds=60)][-1]
    assert isinstance(last, Done)
    assert last.completion_tokens < 480


def test_a_request_that_nobody_reads_or_that_is_too_old_is_not_answered(house):
    unread, old = house.request(), house.request(seconds=-1)
    house.broker.ask(unread.model_dump_json())
    last = house.hear(old)[-1]
    assert isinstance(last, Failed)
    assert last.error["code"] == Code.TIMED_OUT
    house.hear(house.request())  # by now the unread one's turn has passed; following it earlier would be reading it
    with pytest.raises(Unavailable):
        next(house.streams.follow(unread.request_id, silence_seconds=0.5))


def test_a_message_delivered_twice_is_answered_once(house):
    request = house.request()
    house.ask(request)
    events = house.hear(request)
    house.hear(house.request())  # by now the second copy has been taken as well
    again = [event for _, event in house.streams.follow(request.request_id)]
    assert again == events


def test_a_worker_told_to_end_is_gone_within_seconds_and_says_so_to_who_waits(house):
    request = house.request(max_tokens=500, temperature=1.9)
    followed = house.streams.follow(house.ask(request), silence_seconds=60)
    next(followed)
    began = time.monotonic()
    house.worker.send_signal(signal.SIGTERM)
    last = [event for _, event in followed][-1]
    assert house.worker.wait(30) == 0
    assert isinstance(last, Done) or last.error["code"] == Code.UNAVAILABLE
    assert time.monotonic() - began < 25
    house.worker = house.start_worker()
    assert isinstance(house.hear(house.request())[-1], Done)
