"""A team at work, for pictures and for tests of whole pages: people, data, runs in every state, models, links, talks.

Nothing here runs a model: rows, curves and reports are made up, but have the shapes that the workers leave.
"""

import json
import math
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from models.db.store.artefacts import NewAdapter, NewBase, NewMerge
from models.db.store.system import DEFAULT_TEAM, SystemStore
from models.db.store.team import TeamStore
from models.db.tables import (
    Adapter,
    BaseModel,
    Dataset,
    DatasetVersion,
    Job,
    JobEvent,
    Link,
    LinkUse,
    Merge,
    Team,
    User,
    Worker,
    db_now,
)  # fmt: skip
from models.domain.access import Member, Role, System
from models.domain.data_jobs import Edit
from models.domain.errors import Code, JobFailed
from models.domain.ids import new_id
from models.domain.job import JobKind, JobState, Lane, Phase
from models.domain.progress import Evaluated, PhaseBegan, Remarked, Said, Sampled, StepDone
from models.domain.sweeps import Knob, SweepMode
from models.domain.training import TrainingSpec
from models.infra.storage import SHARED, team_scope
from tests.furnished_data import reviews_csv, tickets
from tests.house import House, Person
from tests.light_worker import do_waiting
from tests.runs import Run
from tests.text_bases import text_base
from webapp.actions.conversations import Pane, begin_conversation
from webapp.actions.count_tokens import count_tokens
from webapp.actions.edit_rows import edit_rows
from webapp.actions.ensure_samples import ensure_samples
from webapp.actions.invitations import invite
from webapp.actions.links import create_link
from webapp.actions.my_keys import make_key
from webapp.actions.presets import save_preset
from webapp.actions.sessions import open_session
from webapp.actions.start_sweep import start_sweep
from webapp.actions.write_card import write_card

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CARD = """Answers customers of Northwind in the tone of our support desk: short, warm, one next step.

Trained on 180 answers that Priya picked in September. Do not use it for refunds above 200 €:
it does not know the new rule yet."""
LOG = """loading smollm2-135m-instruct in nf4 (4-bit), double quantised
trainable parameters: 4,884,480 of 139,399,488 (3.50 %)
packing off; 180 rows, 162 trained, 18 held out
step 10 loss 2.214 lr 1.98e-04 tokens/s 812
step 20 loss 1.870 lr 1.91e-04 tokens/s 826
step 30 loss 1.604 lr 1.80e-04 tokens/s 819
held-out loss at step 30: 1.742
checkpoint saved at step 30
step 40 loss 1.391 lr 1.64e-04 tokens/s 823
step 50 loss 1.228 lr 1.46e-04 tokens/s 824
step 60 loss 1.102 lr 1.25e-04 tokens/s 821
held-out loss at step 60: 1.296
"""
TOPICS = {
    "my order has not arrived": "I am sorry for the wait. Your parcel left us on Monday; here is how to follow it.",
    "I want to return the lamp": "Of course. You have 30 days: print the label in your account and drop it off.",
    "the invoice has a wrong address": "Thank you for telling us. I have corrected it; the new invoice is on its way.",
    "can I change the colour": "Yes, as long as it has not shipped. Which colour would you like instead?",
    "the app signs me out": "That is annoying. Please update to version 4.2, which keeps you signed in.",
    "do you ship to Norway": "We do. It takes 4 to 6 working days, and customs is included in the price.",
}


@dataclass(frozen=True, kw_only=True)
class Furnished:
    """Ids to look at."""

    owner: Person
    dataset: str
    broken_dataset: str
    messy_dataset: str
    unmapped_dataset: str
    run: str
    failed_run: str
    finished_run: str
    sweep: str
    preset: str
    adapter: str
    merge: str
    conversation: str
    models: tuple[str, str]
    link_token: str
    invitation_token: str
    texts: dict[str, str]


class DataRun(Run):
    """A training on a file that is there already, with losses as noisy as small batches leave them."""

    def __init__(self, house: House, person: Person, *, base: str, file: str, suffix: str) -> None:
        self.house, self.file, self.fence, self.base = house, file, 0, base
        spec = TrainingSpec.model_validate({"base": base, "data": {"training_file": file}, "suffix": suffix})
        with house.deps.database.write() as session:
            job = TeamStore(session, person.principal).submit(JobKind.TRAIN, spec.model_dump(mode="json"), priority=8)
        self.id = job.id

    shift = 0.0  # of every loss

    def feed(
        self, steps: range, total: int, *, seconds_each: float = 0.5, until: datetime | None = None, every: int = 0
    ) -> "DataRun":
        until, draw = until or datetime.now(UTC), random.Random(f"{total}{self.shift}")
        said: list[Said] = [PhaseBegan(phase=Phase.TRAINING)]
        if every and steps[0] == 1:
            began = until - timedelta(seconds=len(steps) * seconds_each)
            said.append(Evaluated(step=0, loss_per_token=2.61, trained_tokens=900, at=began))
            said.append(_sample(0, total, began))
        for step in steps:
            at = until - timedelta(seconds=(steps[-1] - step) * seconds_each)
            smooth = 0.55 + self.shift + 1.9 * math.exp(-3.4 * step / total)
            said.append(
                StepDone(
                    step=step, total_steps=total, epoch=step / total * 3, grad_norm=0.5 + draw.random() / 3,
                    loss_per_token=smooth + draw.gauss(0, 0.05) + 0.09 * math.exp(-step / 20),
                    learning_rate=1e-4 * (1 + math.cos(math.pi * step / total)), trained_tokens=430,
                    step_seconds=seconds_each * (1 + draw.random() / 9), at=at,
                )
            )  # fmt: skip
            if every and step % every == 0:
                said.append(Evaluated(step=step, loss_per_token=smooth + 0.11, trained_tokens=900, at=at))
                said.append(_sample(step, total, at))
        self.say(*said)
        return self


class SweptData(DataRun):
    """A run of a sweep that is queued already."""

    def __init__(self, house: House, job: str, base: str) -> None:
        self.house, self.id, self.fence, self.base = house, job, 0, base


ANSWERS = (
    "I'm sorry to hear that you are having trouble with your order. There are a few things you can try. First, check",
    "I'm sorry about the wait. Your order may have been delayed by the carrier. You can check the status of your",
    "Sorry about the wait. The parcel left on Tuesday; the carrier's page shows where it is now.",
    "Sorry about the wait, and thank you for writing. The parcel left us on Tuesday and should be with you by Friday.",
)


def _sample(step: int, total: int, at: datetime) -> Sampled:
    """An answer that comes nearer to the row's own, the further the training is."""
    near = min(3, 4 * step // total + (step > 0))
    return Sampled(
        step=step, question=0, prompt="My order should have come on Wednesday. Where is it?", answer=ANSWERS[near],
        reference="Sorry about the wait, and thank you for writing. Your parcel left us on Tuesday and should be "
        "with you by Friday.", is_cut=near < 2, at=at,
    )  # fmt: skip


def furnish(house: House) -> Furnished:
    people = _people(house)
    _staff(house)
    anna, priya, tomas = people["anna.berg"], people["priya.raman"], people["tomas.lind"]
    small = _base(house, "smollm2-135m-instruct", 576, 30, 134_515_008, "apache-2.0")
    _base(house, "qwen2.5-0.5b-instruct", 896, 24, 494_032_768, "apache-2.0")
    ensure_samples(house.deps)
    datasets = {
        "support-answers.jsonl": house.upload(priya, "support-answers.jsonl", b"".join(_support(180))),
        "contract-notes.jsonl": house.upload(tomas, "contract-notes.jsonl", b"".join(_alpaca(64, broken=7))),
        "release-notes.jsonl": house.upload(anna, "release-notes.jsonl", b"".join(_pairs(40))),
        "reviews.csv": house.upload(tomas, "reviews.csv", reviews_csv()),
        "helpdesk-export.jsonl": house.upload(priya, "helpdesk-export.jsonl", tickets()),
    }
    files = {name: answer.json()["id"] for name, answer in datasets.items()}
    do_waiting(house)
    _count(house, priya, files["helpdesk-export.jsonl"], small)
    _edit(house, priya, files["helpdesk-export.jsonl"])
    _age(house, timedelta(days=4))
    answers, notes = files["support-answers.jsonl"], files["contract-notes.jsonl"]
    finished = _trained(
        house,
        priya,
        small,
        "support-tone",
        files["support-answers.jsonl"],
        steps=180,
        ago=timedelta(days=2, hours=3),
        gain=(2.31, 0.94),
    )
    second = _trained(
        house,
        tomas,
        small,
        "contract-summaries",
        files["contract-notes.jsonl"],
        steps=96,
        ago=timedelta(hours=20),
        gain=(2.74, 1.61),
    )
    failed = (
        DataRun(house, tomas, base=small, file=notes, suffix="long-context")
        .claim()
        .feed(range(1, 13), 240, seconds_each=6.1)
    )
    failed.say(Remarked(level="warn", text="free memory of the device fell below 300 MB"), log=LOG[:220])
    failed.fail(
        JobFailed(
            "the device ran out of memory at step 13 with sequences of 4,096 tokens; at most about 2,900 fit. Shorten "
            "the sequence length, or choose 4-bit with gradient checkpointing.",
            code=Code.OUT_OF_MEMORY,
        )
    )
    _move_back(house, failed.id, timedelta(hours=5), timedelta(minutes=2))
    stopped = (
        DataRun(house, anna, base=small, file=answers, suffix="first-try")
        .claim()
        .feed(range(1, 41), 180, seconds_each=2, every=20)
    )
    stopped.cancelled()
    _move_back(house, stopped.id, timedelta(days=3), timedelta(minutes=4))
    sweep = _sweep(house, anna, small, answers)
    preset = _presets(house, anna, priya)
    merge = _merged(house, priya, finished[1])
    running = DataRun(house, anna, base=small, file=answers, suffix="support-tone-v2").claim()
    until = datetime.now(UTC) - timedelta(seconds=1)
    running.feed(range(1, 65), 180, seconds_each=2.4, every=30, until=until).say(log=LOG)
    waiting = [
        DataRun(house, who, base=small, file=answers, suffix=name).id
        for who, name in ((priya, "faq-short"), (tomas, "contracts-2"))
    ]
    for number, job in enumerate(waiting):
        _change(house, Job, job, created_at=datetime.now(UTC) - timedelta(minutes=9 - 4 * number))
    write_card(house.deps, priya.principal, finished[1], CARD)
    with house.deps.database.read() as session:
        store = TeamStore(session, anna.principal)
        names = store.adapter(finished[1]).name, store.adapter(second[1]).name
    link = _link(house, priya, finished[1])
    invitation = invite(house.deps, _member(anna), "member", "lena.fors@northwind.example").token
    invite(house.deps, _member(anna), "viewer", "")
    make_key(house.deps, _member(anna), "nightly evaluation")
    make_key(house.deps, _member(priya), "notebook")
    _browsers(house, anna)
    talk = _talk(house, anna, names)
    return Furnished(
        owner=anna, dataset=_dataset_of(house, anna, files["support-answers.jsonl"]), run=running.id,
        broken_dataset=_dataset_of(house, anna, files["contract-notes.jsonl"]), failed_run=failed.id,
        finished_run=finished[0], sweep=sweep, preset=preset, adapter=finished[1], merge=merge, conversation=talk,
        models=names, messy_dataset=_dataset_of(house, priya, files["helpdesk-export.jsonl"]),
        unmapped_dataset=_dataset_of(house, tomas, files["reviews.csv"]), link_token=link,
        invitation_token=invitation, texts=files,
    )  # fmt: skip


def _sweep(house: House, person: Person, base: str, file: str) -> str:
    """Three ranks with two seeds each, all at their end; one of them failed."""
    spec = TrainingSpec.model_validate({"base": base, "data": {"training_file": file}})
    knobs = [Knob(path="method.options.rank", values=(8, 16, 32)), Knob(path="schedule.seed", values=(1, 2))]
    made = start_sweep(house.deps, person.principal, spec, name="tone-ranks", knobs=knobs, mode=SweepMode.GRID)
    with house.deps.database.read() as session:
        members = [(row.job_id, row.values) for row in TeamStore(session, person.principal).sweep_runs(made)]
    for number, (job, values) in enumerate(members):
        run = SweptData(house, job, base)
        gain = {8: 0.16, 16: 0.045, 32: 0.04}[values["method.options.rank"]] + 0.012 * values["schedule.seed"]
        run.shift = gain
        run.claim().feed(range(1, 91), 90, seconds_each=1.8, every=15)
        run.fail(JobFailed("its worker was lost three times.")) if number == 1 else run.succeed()
        _move_back(house, job, timedelta(hours=30 - number), timedelta(seconds=180 + number))
    return made


def _presets(house: House, owner: Person, member: Person) -> str:
    """One that the owner shares, one of theirs alone, and one that somebody else shares."""
    tone = {"data": {"max_length": 1024}, "method": {"options": {"rank": 8, "alpha": 16}}, "schedule": {"epochs": 5}}
    shared = save_preset(house.deps, owner.principal, "Support tone", tone, is_shared=True)
    save_preset(house.deps, owner.principal, "Try at night", {"schedule": {"steps": 2000}})
    legal = {"method": {"name": "dora"}, "schedule": {"learning_rate": 2e-4}}
    save_preset(house.deps, member.principal, "Contracts, careful", legal, is_shared=True)
    return shared.id


def _count(house: House, person: Person, file: str, base: str) -> None:
    count_tokens(house.deps, person.principal, file, base)
    do_waiting(house)


def _edit(house: House, person: Person, file: str) -> None:
    """A second version: one answer corrected, one row removed."""
    asked, better = "My parcel was left with a neighbour I do not know.", "Thank you for telling us. I have asked the "
    turns = [
        {"role": "system", "content": "You answer customers of Northwind, briefly and warmly."},
        {"role": "user", "content": asked},
        {"role": "assistant", "content": f"{better}driver which door it was and will write to you before six today."},
    ]
    edits = [Edit(row=2, example={"kind": "conversation", "turns": turns}), Edit(row=9, example=None)]
    edit_rows(house.deps, person.principal, file, edits, "the neighbour's door, and a complaint about a colleague")
    do_waiting(house)


def _people(house: House) -> dict[str, Person]:
    roles = {"anna.berg": Role.OWNER, "priya.raman": Role.MEMBER, "tomas.lind": Role.MEMBER, "jonas.weber": Role.VIEWER}
    people = {name: house.person(role) for name, role in roles.items()}
    for name, person in people.items():
        _change(house, User, person.principal.user, email=f"{name}@northwind.example")
    _change(house, User, people["anna.berg"].principal.user, is_admin=True)
    _change(house, Team, DEFAULT_TEAM, name="northwind")
    return people


def _member(person: Person) -> Member:
    who = person.principal
    return Member(user=who.user, team=who.team, role=who.role)


def _change(house: House, table: Any, row_id: str, **values: Any) -> None:
    with house.deps.database.write() as session:
        session.execute(update(table).where(table.id == row_id).values(**values))


def _base(house: House, name: str, hidden: int, layers: int, parameters: int, licence: str) -> str:
    modules = [
        {"name": f"model.layers.{layer}.{part}", "kind": "linear", "shape": [hidden, hidden], "dtype": "bf16"}
        for layer in range(layers)
        for part in LINEAR
    ]
    shapes = {
        "architecture": "LlamaForCausalLM", "hidden_size": hidden, "layers": layers, "vocabulary": 49152,
        "context_length": 2048, "parameters": parameters, "modules": modules,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        text_base(Path(folder), "chatml")
        texts = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    tree = house._tree(SHARED, {"config.json": json.dumps({"name": name}).encode(), **texts})
    new = NewBase(
        stored=tree, name=name, description="", source="hub", reference=f"example/{name}", revision=None,
        licence=licence, facts={"chat_template": "chatml", "chat_template_sha256": "0" * 64}, shapes=shapes,
    )  # fmt: skip
    house._finish(System(team=DEFAULT_TEAM), JobKind.ADD_BASE, {"name": name}, new, shared=True)
    with house.deps.database.read() as session:
        return TeamStore(session, System(team=DEFAULT_TEAM)).base(name).id


def _staff(house: House) -> None:
    """One worker a lane, as the database sees living ones; nothing behind them."""
    with house.deps.database.write() as session:
        for lane in Lane:
            worker = Worker(
                id=new_id("worker"), host="gpu-1", pid=4000, lane=lane, device="cpu", slots=1, seen_at=db_now(3600)
            )
            SystemStore(session).worker_started(worker)


def _support(count: int) -> Iterator[bytes]:
    topics = list(TOPICS.items())
    for number in range(count):
        asked, answered = topics[number % len(topics)]
        turns = [
            {"role": "system", "content": "You answer customers of Northwind, briefly and warmly."},
            {"role": "user", "content": f"Hello, {asked}. Order {48210 + 7 * number}."},
            {"role": "assistant", "content": answered},
        ]
        yield json.dumps({"messages": turns}, ensure_ascii=False).encode() + b"\n"


def _alpaca(count: int, broken: int) -> Iterator[bytes]:
    for number in range(count):
        row = {
            "instruction": f"Summarise clause {number + 1} in one sentence.",
            "output": f"Clause {number + 1} limits liability.",
        }
        if number % (count // broken) == 3:
            row.pop("output")
        yield json.dumps(row).encode() + b"\n"


def _pairs(count: int) -> Iterator[bytes]:
    for number in range(count):
        row = {"prompt": f"What changed in 4.{number}?", "completion": f"Faster search and {number + 2} fixes."}
        yield json.dumps(row).encode() + b"\n"


def _age(house: House, ago: timedelta) -> None:
    """What is there now, jobs and data, was made some days ago."""
    at = datetime.now(UTC) - ago
    with house.deps.database.write() as session:
        session.execute(update(Job).values(created_at=at, started_at=at, finished_at=at + timedelta(seconds=2)))
        session.execute(update(Dataset).values(created_at=at))
        session.execute(update(DatasetVersion).values(created_at=at))
        session.execute(update(BaseModel).values(size=278_000_000))


def _trained(
    house: House,
    person: Person,
    base: str,
    suffix: str,
    file: str,
    *,
    steps: int,
    ago: timedelta,
    gain: tuple[float, float],
) -> tuple[str, str]:
    """A finished training with its curves; returns the job's id and the adapter's."""
    run = DataRun(house, person, base=base, file=file, suffix=suffix).claim()
    run.feed(range(1, steps + 1), steps, seconds_each=2.3, every=30, until=datetime.now(UTC) - ago).say(log=LOG)
    manifest = {
        "method": "lora", "method_options": {"rank": 16, "alpha": 32.0, "dropout": 0.05},
        "quantisation": "nf4", "seed": 17,
        "data": {
            "rows": 162, "steps": steps, "trained_tokens": steps * 438, "first_loss": 2.49, "last_loss": 0.46,
            "heldout_loss_before": gain[0], "heldout_loss_after": gain[1],
        },
        "machine": {"device": "NVIDIA L4", "cpu_model": "Intel Xeon", "threads": 8, "versions": {}},
    }  # fmt: skip
    weights = suffix.encode() * 200_000
    tree = house._tree(
        team_scope(person.principal.team), {"adapter_model.safetensors": weights, "manifest.json": b"{}"}
    )
    new = NewAdapter(stored=tree, base_id=base, quantisation="nf4", suffix=suffix, manifest=manifest)
    with house.deps.database.write() as session:
        SystemStore(session).settle(
            run.id, run.fence, JobState.SUCCEEDED, artefact=new, result={"trained_tokens": steps * 438}
        )
    _move_back(house, run.id, ago, timedelta(seconds=2.3 * steps + 40))
    adapter = "adapter-" + run.id.split("-", 1)[1]
    _change(house, Adapter, adapter, created_at=datetime.now(UTC) - ago)
    return run.id, adapter


def _move_back(house: House, job: str, ago: timedelta, lasted: timedelta) -> None:
    ended = datetime.now(UTC) - ago
    _change(
        house, Job, job, finished_at=ended, started_at=ended - lasted, created_at=ended - lasted - timedelta(seconds=8)
    )
    with house.deps.database.write() as session:
        moved = select(JobEvent).where(JobEvent.job_id == job, JobEvent.type == "moved")
        for event in session.scalars(moved):
            event.at = ended if (event.data or {}).get("before") == JobState.RUNNING else ended - lasted


def _merged(house: House, person: Person, adapter: str) -> str:
    report = {
        "mode": "full_precision", "storage": "bf16",
        "arithmetic": {"merged_tensors": 210, "untouched_tensors": 62, "worst_ulp": 0.5, "worst_tensor": None},
        "logits": {
            "positions": 2048, "top1_agreement": 0.9971, "mean_kl": 0.0004, "needed_top1": 0.99, "allowed_kl": 0.005,
        },
        "shift": {
            "verdict": "not_worse", "answer_tokens": 3120, "adapter_loss": 0.944, "merged_loss": 0.941,
            "difference": -0.003, "interval_low": -0.011, "interval_high": 0.006, "top1_agreement": 0.981,
            "mean_kl": 0.0043,
        },
        "passed": True,
    }  # fmt: skip
    tree = house._tree(
        team_scope(person.principal.team), {"model.safetensors": b"merged" * 500_000, "config.json": b"{}"}
    )
    new = NewMerge(stored=tree, adapter_id=adapter, mode="full_precision", storage_dtype="bf16", report=report)
    job = house._finish(person.principal, JobKind.MERGE, {"adapter": adapter}, new)
    _move_back(house, job, timedelta(days=2), timedelta(minutes=3))
    merge = "merge-" + job.split("-", 1)[1]
    _change(house, Merge, merge, created_at=datetime.now(UTC) - timedelta(days=2))
    return merge


def _link(house: House, person: Person, adapter: str) -> str:
    made = create_link(
        house.deps, person.principal, adapter, title="Our support tone",
        sentence="Ask it anything a customer would ask. It does not see orders.",
    )  # fmt: skip
    now = datetime.now(UTC)
    _change(house, Link, made.seen.id, used_requests=23, used_tokens=4180, last_used_at=now - timedelta(minutes=12))
    with house.deps.database.write() as session:
        for number in range(3):
            session.add(
                LinkUse(
                    id=new_id("use"), link_id=made.seen.id, at=now - timedelta(minutes=12 + 30 * number),
                    outcome="answered", prompt_tokens=31, completion_tokens=88,
                )
            )  # fmt: skip
    return made.token


def _browsers(house: House, person: Person) -> None:
    agents = (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    )
    for number, agent in enumerate(agents):
        who = person.principal
        open_session(house.deps.database, who.user, who.team, address=f"192.0.2.{20 + number}", agent=agent)


def _talk(house: House, person: Person, names: tuple[str, str]) -> str:
    panes = [Pane(number=0, model="smollm2-135m-instruct"), Pane(number=1, model=names[0])]
    turns = {
        "My parcel is late. What now?": (
            "There are several reasons why a parcel can be late. It may be delayed by weather, by customs, or by the "
            "carrier. You could wait, or contact the carrier.",
            "I am sorry for the wait. Your parcel left us on Monday; here is how to follow it. If it is not there by "
            "Thursday, write to me again and I will send a new one.",
        ),
        "Can I still change the colour?": (
            "Changing the colour depends on the item and on the shop's policy.",
            "Yes, as long as it has not shipped. Which colour would you like instead?",
        ),
    }
    begin_conversation(house.deps, person.principal, panes[:1], "Refund wording, first ideas")
    talk = begin_conversation(house.deps, person.principal, panes, "Late parcels: base against support-tone").id
    for asked, answers in turns.items():
        with house.deps.database.write() as session:
            store = TeamStore(session, person.principal)
            turn = store.ask_in_panes(talk, asked, [0, 1])
            for pane, text in enumerate(answers):
                store.save_answer(
                    talk, pane=pane, turn=turn, content=text, model=panes[pane].model,
                    made={"finish_reason": "stop", "completion_tokens": len(text) // 5, "seconds": 1.9},
                )  # fmt: skip
    return talk


def _dataset_of(house: House, person: Person, file: str) -> str:
    with house.deps.database.read() as session:
        return TeamStore(session, person.principal).file(file).dataset_id
