"""The engine with real tiny models: what it says, to whom, for how long, and what stays in memory."""

import hashlib
import shutil
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from models.domain.chat import ChatRequest, Delta, Done, Loading, Sampling, ServedModel, TreeRef, Waiting
from models.domain.errors import AppError, Code
from models.domain.job import JobKind
from models.domain.training import Quantisation
from tests.adapters import random_adapter
from tests.tiny import tiny_base
from worker.chat.engine import Engine
from worker.chat.residents import ResidentKey, Residents
from worker.data.render import Renderer
from worker.device import device_facts
from worker.jobdir import JobDir, Order
from worker.loading import attach_adapter, load_base, load_dequantised
from worker.merge.run import run as run_merge
from worker.stop import Stop

CPU = device_facts("cpu")
BASE, OTHER_BASE, ONE, TWO = ("a" * 64, "b" * 64, "1" * 64, "2" * 64)
TINY_BYTES = 200_000  # a tiny base in fp32 takes about 120 kB
QUESTION = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two bases, and two adapters of the first; by the sha256 that stands for their content."""
    root = tmp_path_factory.mktemp("chat")
    base, other = tiny_base(root / "base"), tiny_base(root / "other", seed=1)
    return {
        BASE: base, OTHER_BASE: other,
        ONE: random_adapter(root / "one", base, seed=1, tree_sha256=BASE),
        TWO: random_adapter(root / "two", base, targets=("q_proj", "up_proj"), seed=2, tree_sha256=BASE),
    }  # fmt: skip


@pytest.fixture
def engine(folders):
    made = engine_on(folders)
    yield made
    made.close(0)


def engine_on(folders, memory_bytes: int = 10**9) -> Engine:
    return Engine(
        device="cpu", memory_bytes=memory_bytes, threads=1,
        fetch=lambda ref, _: nullcontext(folders[ref.sha256]),
    )  # fmt: skip


def ask(
    adapter: str | None = None,
    base: str = BASE,
    quantisation=Quantisation.NF4,
    messages=(QUESTION,),
    seconds=60.0,
    **sampling,
) -> ChatRequest:
    model = ServedModel(
        public_id="tiny", base=TreeRef(scope="shared", sha256=base), quantisation=quantisation,
        adapter=TreeRef(scope="team/1", sha256=adapter) if adapter else None,
    )  # fmt: skip
    return ChatRequest(
        request_id="r", model=model, messages=messages, deadline_at=datetime.now(UTC) + timedelta(seconds=seconds),
        sampling=Sampling(**{"max_tokens": 24, "seed": 5, **sampling}),
    )  # fmt: skip


class Listener:
    """Collects an answer; stops wanting it after `patience` pieces."""

    def __init__(self, patience: int | None = None) -> None:
        self.events, self.patience = [], patience

    def __call__(self, event) -> None:
        self.events.append(event)

    def is_unwanted(self) -> bool:
        return self.patience is not None and len(self.deltas) >= self.patience

    @property
    def deltas(self) -> list[Delta]:
        return [event for event in self.events if isinstance(event, Delta)]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.deltas)

    @property
    def done(self) -> Done:
        assert isinstance(self.events[-1], Done), self.events
        return self.events[-1]


def hear(engine: Engine, request: ChatRequest, patience: int | None = None) -> Listener:
    listener = Listener(patience)
    engine.answer(request, listener, listener.is_unwanted)
    return listener


@pytest.mark.parametrize("adapter", [None, ONE])
@pytest.mark.parametrize("quantisation", list(Quantisation))
def test_greedy_answers_are_those_of_transformers_own_loop(tmp_path, folders, adapter, quantisation):
    if adapter:
        made = random_adapter(tmp_path / "made", folders[BASE], seed=1, quantisation=quantisation, tree_sha256=BASE)
        folders = folders | {adapter: made}
    if quantisation is Quantisation.NONE:
        model = load_plain(folders[BASE], CPU, torch.float32)
    else:
        model = load_dequantised(folders[BASE], CPU, torch.float32, quantisation)
    if adapter:
        model = attach_adapter(model, folders[adapter])
    renderer = Renderer.from_folder(folders[BASE])
    prompt = renderer.prompt([QUESTION])
    ids = model.generate(input_ids=torch.tensor([prompt]), do_sample=False, max_new_tokens=24)[0, len(prompt) :]
    answer = hear(engine_on(folders), ask(adapter, quantisation=quantisation, temperature=0))
    assert answer.text == renderer.tokenizer.decode(ids.tolist(), skip_special_tokens=True)
    assert (answer.done.prompt_tokens, answer.done.completion_tokens) == (len(prompt), len(ids))


def load_plain(folder, facts, dtype):
    return load_base(folder, Quantisation.NONE, facts, dtype)


def test_two_adapters_asked_at_once_answer_as_each_alone(folders):
    alone = {adapter: hear(engine_on(folders), ask(adapter)).text for adapter in (ONE, TWO, None)}
    assert len(set(alone.values())) == 3
    engine = engine_on(folders)
    together: list[tuple[str | None, str]] = []

    def ask_four_times(adapter):
        for _ in range(4):
            together.append((adapter, hear(engine, ask(adapter)).text))

    threads = [threading.Thread(target=ask_four_times, args=(adapter,)) for adapter in (ONE, TWO, None)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(together) == 12
    assert all(text == alone[adapter] for adapter, text in together)
    engine.close(0)


def test_the_base_keeps_its_weights_through_loading_switching_and_unloading(folders):
    residents = Residents(CPU, 10**9)
    key = ResidentKey(BASE, Quantisation.NF4)
    before = weights_hash(residents.ready(key, folders[BASE]))
    for adapter in (ONE, TWO, ONE, None, TWO):
        residents.ready(key, folders[BASE], adapter, folders[adapter] if adapter else None)
        assert weights_hash(residents.ready(key, folders[BASE])) == before
    for adapter in (ONE, TWO):
        residents.unload(key, adapter)
    assert weights_hash(residents.ready(key, folders[BASE])) == before


def weights_hash(model) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" not in name:
            digest.update(name.replace(".base_layer", "").encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def test_the_last_adapter_can_leave_and_another_come(folders):
    residents, key = Residents(CPU, 10**9), ResidentKey(BASE, Quantisation.NF4)
    row = torch.tensor([[1, 40, 41]])
    plain = residents.ready(key, folders[BASE])(row).logits
    residents.ready(key, folders[BASE], ONE, folders[ONE])
    residents.unload(key, ONE)
    assert torch.equal(residents.ready(key, folders[BASE])(row).logits, plain)
    found = residents.ready(key, folders[BASE], TWO, folders[TWO])(row).logits
    wanted = attach_adapter(load_dequantised(folders[BASE], CPU, torch.float32), folders[TWO])(row).logits
    assert torch.equal(found, wanted)


def test_a_base_is_loaded_once_and_only_loading_is_announced(engine):
    first, again, other = (hear(engine, ask(adapter)) for adapter in (None, None, ONE))
    assert isinstance(first.events[0], Loading)
    assert not any(isinstance(event, Loading) for event in again.events)
    assert isinstance(other.events[0], Loading)
    assert [key.base for key, _ in engine._residents.loaded()] == [BASE]


def test_the_least_recently_used_base_leaves_when_room_is_needed(folders):
    engine = engine_on(folders, memory_bytes=TINY_BYTES)
    hear(engine, ask(ONE))
    hear(engine, ask(base=OTHER_BASE))
    assert [key.base for key, _ in engine._residents.loaded()] == [OTHER_BASE]
    assert hear(engine, ask(ONE)).text == hear(engine_on(folders), ask(ONE)).text


def test_a_model_larger_than_its_allowance_is_refused_with_both_figures(folders):
    with pytest.raises(AppError, match="GB") as caught:
        hear(engine_on(folders, memory_bytes=1000), ask())
    assert caught.value.code is Code.OUT_OF_MEMORY
    assert caught.value.facts["allowed_bytes"] == 1000


def test_an_adapter_of_another_base_is_refused_and_the_engine_goes_on(engine):
    with pytest.raises(AppError) as caught:
        hear(engine, ask(ONE, base=OTHER_BASE))
    assert caught.value.code is Code.ADAPTER_REFUSED
    assert hear(engine, ask(ONE)).done.completion_tokens > 0


def test_an_answer_is_never_longer_than_asked_or_than_the_context(engine):
    assert hear(engine, ask(max_tokens=3)).done.completion_tokens <= 3
    long = {"role": "user", "content": "x" * 440}  # the tiny base reads 512 tokens
    answer = hear(engine, ask(messages=(long,), max_tokens=500))
    assert answer.done.prompt_tokens + answer.done.completion_tokens <= 512


def test_messages_longer_than_the_context_are_refused_in_tokens(engine):
    with pytest.raises(AppError, match="512 at most") as caught:
        hear(engine, ask(messages=({"role": "user", "content": "x" * 600},)))
    assert caught.value.code is Code.CONTEXT_TOO_LONG


def test_a_stop_string_ends_the_answer_before_it(engine):
    whole = hear(engine, ask(max_tokens=100)).text
    stop = whole[4:7]
    answer = hear(engine, ask(max_tokens=100, stop=(stop,)))
    assert answer.text == whole[: whole.find(stop)]
    assert answer.done.finish_reason == "stop"


def test_an_unwanted_answer_stops_at_the_next_token(engine):
    answer = hear(engine, ask(max_tokens=400), patience=3)
    assert answer.done.finish_reason == "stopped"
    assert len(answer.deltas) == 3


def test_an_expired_request_is_not_begun(engine):
    with pytest.raises(AppError) as caught:
        hear(engine, ask(seconds=-1))
    assert caught.value.code is Code.TIMED_OUT


def test_who_waits_is_told_how_many_are_ahead_and_may_leave(engine):
    slow, waiting = Gate(), Listener()
    first = threading.Thread(target=engine.answer, args=(ask(), slow, lambda: False))
    first.start()
    slow.entered.wait(30)
    second = threading.Thread(target=engine.answer, args=(ask(), waiting, lambda: bool(waiting.events)))
    second.start()
    second.join(30)
    assert Waiting(ahead=1) in waiting.events
    assert waiting.done.completion_tokens == 0
    slow.open.set()
    first.join(30)


class Gate(Listener):
    """Holds the models' thread at the first piece of text until opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, event) -> None:
        super().__call__(event)
        if isinstance(event, Delta):
            self.entered.set()
            self.open.wait(30)


def test_closing_fails_waiting_answers_at_once_and_the_running_one_after_its_grace(folders):
    engine, slow, faults = engine_on(folders), Gate(), []

    def ask_and_note(listener):
        try:
            engine.answer(ask(max_tokens=400), listener, lambda: False)
        except AppError as error:
            faults.append(error.code)

    threads = [threading.Thread(target=ask_and_note, args=(listener,)) for listener in (slow, Listener())]
    threads[0].start()
    slow.entered.wait(30)
    threads[1].start()
    time.sleep(0.1)
    engine.close(grace_seconds=0.05)
    threads[1].join(10)
    assert faults == [Code.UNAVAILABLE]
    time.sleep(0.05)
    slow.open.set()
    threads[0].join(10)
    assert faults == [Code.UNAVAILABLE] * 2
    with pytest.raises(AppError, match="restarted"):
        hear(engine, ask())


def test_a_merge_is_served_like_a_base_and_says_what_its_adapter_says(folders, tmp_path):
    merged = merged_folder(tmp_path, folders[BASE], folders[ONE])
    engine = engine_on({**folders, "e" * 64: merged})
    as_merge = hear(engine, ask(base="e" * 64, quantisation=Quantisation.NONE, temperature=0))
    as_adapter = hear(engine, ask(ONE, quantisation=Quantisation.NF4, temperature=0))
    assert as_merge.text == as_adapter.text
    engine.close(0)


def merged_folder(root: Path, base: Path, adapter: Path) -> Path:
    jobdir = JobDir(root / "job")
    payload = {"adapter": "adapter-1", "mode": "as_tested", "storage": "fp32"}
    jobdir.lay_out(Order(job="ftjob-1", fence=1, kind=JobKind.MERGE, payload=payload, facts={"base_tree_sha256": BASE}))
    shutil.copytree(base, jobdir.inputs / "base")
    shutil.copytree(adapter, jobdir.inputs / "adapter")
    assert run_merge(jobdir, Stop()).status == "succeeded"
    return jobdir.out
