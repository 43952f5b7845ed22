"""Turns one job directory into an outcome: `python -P -m worker.child DIR [--alone]`, or `--standby`.

The only entry of the child process. Knows files and signals, nothing of SQL, Redis or users. What a job needs
is imported when its kind is known, so a toy starts in a fraction of a second and torch loads only here.

Its life hangs on stdin: the supervisor writes a byte for every lease it has kept. End of file, or silence
for `order.silence_seconds`, ends the process at once (exit code 70); `--alone` lets a person run it by hand.
With `--standby` it loads what a training needs first; the directory is then the first line of stdin.
"""

import argparse
import errno
import gc
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import assert_never

from models.domain.errors import AppError, Code, JobFailed
from models.domain.job import JobKind
from worker.device_cap import cap_device_memory
from worker.importing import importing
from worker.jobdir import JobDir, Order, Outcome
from worker.stop import Stop
from worker.waiting import WAITING

EXIT_ORPHANED = 70

log = logging.getLogger("tuneroom.child")


def main(arguments: list[str]) -> None:
    """Never returns: exits 0 once outcome.json is written, whatever it says."""
    parser = argparse.ArgumentParser(prog="worker.child", description="Run one job directory.")
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--alone", action="store_true", help="no supervisor: do not watch stdin")
    parser.add_argument("--standby", action="store_true", help="load the libraries, then read the directory from stdin")
    parser.add_argument("--device", default="cpu", help="of a standby")
    parser.add_argument("--threads", type=int, default=1, help="of a standby")
    options = parser.parse_args(arguments)
    if (options.directory is None) != options.standby:
        parser.error("needs a directory, or --standby")
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    directory = _stand_by(options.threads, options.device) if options.standby else options.directory.resolve()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    jobdir = JobDir(directory)
    order = jobdir.order()
    if not options.alone:
        threading.Thread(target=_live_by_stdin, args=(order.silence_seconds,), daemon=True).start()
    _set_environment(order.threads, order.device)
    jobdir.finish(_attempt(jobdir, order, stop))
    logging.shutdown()
    sys.stdout.flush()
    # Past this line there is nothing to lose, and GPU teardown has been seen to hang (unsloth#7938).
    os._exit(0)


def _stand_by(threads: int, device: str) -> Path:
    """Load what takes long, wait for the directory, and be in it as if started there. Ends with its worker."""
    _set_environment(threads, device)
    with importing():
        import worker.merge.run
        import worker.train.run  # noqa: F401
    line = bytearray()
    while not line.endswith(b"\n"):  # byte by byte: what follows the line is the supervisor's heartbeat
        read = os.read(0, 1)
        if not read:
            os._exit(0)
        line += read
    root = Path(line.decode().rstrip("\n"))
    scratch = root / "tmp"
    scratch.mkdir(exist_ok=True)
    os.environ |= {"HOME": str(root), "TMPDIR": str(scratch), "HF_HOME": str(scratch / "hf")}
    tempfile.tempdir = None  # asked for anew
    os.chdir(root)
    with (root / "log.txt").open("ab") as log_file:
        os.dup2(log_file.fileno(), 1)
        os.dup2(log_file.fileno(), 2)
    return root


def _set_environment(threads: int, device: str) -> None:
    """Before torch is loaded."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # One device only: a Trainer that sees two would split each batch over both.
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


def visible_device(device: str, inherited: str | None) -> str:
    """CUDA_VISIBLE_DEVICES for one device: `cuda:1` is the second of those that the worker itself was given."""
    if device == "cpu":
        return ""
    number = int(device.removeprefix("cuda:"))
    if inherited is None:
        return str(number)
    given = [name.strip() for name in inherited.split(",")]
    return given[number] if number < len(given) else ""


def _live_by_stdin(silence_seconds: float) -> None:
    """End the process when the supervisor is gone or has lost its lease. Monotonic: the clock may be set."""
    last_heard = time.monotonic()
    while True:
        left = last_heard + silence_seconds - time.monotonic()
        if left <= 0:
            os._exit(EXIT_ORPHANED)
        readable, _, _ = select.select([0], [], [], left)
        if not readable:
            continue
        if not os.read(0, 4096):
            os._exit(EXIT_ORPHANED)
        last_heard = time.monotonic()


def _attempt(jobdir: JobDir, order: Order, stop: Stop) -> Outcome:
    """Run the job; every way to fail becomes an outcome. The one door of this process."""
    try:
        # Before anything is allocated. cuda:0 is the one device that this process sees.
        done = cap_device_memory("cpu" if order.device == "cpu" else "cuda:0", order.device_memory_bytes)
        if done is not None:
            log.info("%s", done)
        return _run(jobdir, order.kind, stop)
    except AppError as error:
        log.info("job failed: %s", error.message)
        return _failed(error)
    except MemoryError:
        return _failed(_out_of_memory(order))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            log.exception("unexpected system error")
            return _failed(_internal())
        return _failed(_disk_full())
    except Exception as error:
        log.exception("unexpected error")
        return _failed(recognised(error, order))


def _run(jobdir: JobDir, kind: JobKind, stop: Stop) -> Outcome:
    with importing():
        match kind:
            case JobKind.TOY:
                from worker.toy import run
            case JobKind.CHECK_DATA:
                from worker.data.check import run
            case JobKind.GATE_DATA:
                from worker.data.gate.run import run
            case JobKind.COUNT_TOKENS:
                from worker.data.counts import run
            case JobKind.EDIT_DATA:
                from worker.data.editing import run
            case JobKind.FETCH_DATA:
                from worker.data.fetched import run
            case JobKind.ADD_BASE:
                from worker.bases.convert import run
            case JobKind.TRAIN:
                from worker.train.run import run
            case JobKind.MERGE:
                from worker.merge.run import run
            case _:
                assert_never(kind)
    gc.freeze()  # what was imported stays: looking through it took 0.3 s at each of a training's collections
    return run(jobdir, stop)


def _failed(error: AppError) -> Outcome:
    return Outcome(status="failed", error=error.to_json())


def recognised(error: Exception, order: Order) -> AppError:
    """Torch and safetensors say some plain things in their own words. Without importing torch."""
    said = str(error)
    # The last words mean a device too full even for CUDA's own part, which torch does not count.
    if type(error).__name__ == "OutOfMemoryError" or any(
        words in said for words in ("can't allocate memory", "CUDA error: out of memory")
    ):
        return _out_of_memory(order)
    if "No space left on device" in said or "PytorchStreamWriter failed writing" in said:
        return _disk_full()
    return _internal()


def _disk_full() -> JobFailed:
    message = "the disk of this worker is full. Free some space; the job goes on from its last checkpoint."
    return JobFailed(message, code=Code.DISK_FULL)


def _out_of_memory(order: Order) -> JobFailed:
    """With the cap, where there is one: then it is the likelier reason, and it can be raised."""
    advice = "Use fewer rows per forward pass, a shorter max_length, a smaller base or NF4"
    cap_bytes = None if order.device == "cpu" else order.device_memory_bytes
    if cap_bytes is None:
        needed = f"the job needed more memory than this device has left. {advice}, then start it again."
        return JobFailed(needed, code=Code.OUT_OF_MEMORY)
    return JobFailed(
        f"the job needed more than the {cap_bytes / 10**9:.1f} GB of {order.device} that this worker allows a job, or "
        f"than {order.device} had left. {advice}, or ask an administrator to raise TUNEROOM_DEVICE_MEMORY_BYTES.",
        code=Code.OUT_OF_MEMORY,
        allowed_bytes=cap_bytes,
    )


def _internal() -> JobFailed:
    return JobFailed(
        "something unexpected stopped this job; the worker's log has the details. "
        "Start it again, and tell an administrator if it happens twice.",
        code=Code.INTERNAL,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
