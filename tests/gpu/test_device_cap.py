"""What only a GPU shows: torch keeps to the cap, and a job beyond it ends as out_of_memory with advice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.db.engine import Database
from models.db.migrations import migrate
from models.domain.errors import Code
from models.infra.settings import Settings
from tests.tiny import tiny_base
from tests.training import ROOT, spawn_afresh, training_job

pytestmark = pytest.mark.gpu

PROBE = """
import torch
from worker.device_cap import cap_device_memory
print(cap_device_memory("cuda:0", 10**9))
within = torch.empty(2**29, dtype=torch.uint8, device="cuda:0")
try:
    torch.empty(2**29, dtype=torch.uint8, device="cuda:0")
except torch.OutOfMemoryError:
    print("refused", torch.cuda.max_memory_allocated(), torch.cuda.memory_stats()["num_ooms"] > 0)
"""


@pytest.fixture(scope="module")
def wide_base(tmp_path_factory) -> Path:
    """225 million weights: about 0.9 GB in fp32, 0.13 GB in NF4."""
    return tiny_base(tmp_path_factory.mktemp("wide") / "base", hidden=2048, layers=6)


def test_what_fits_the_cap_is_allocated_and_what_does_not_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[1:] == [f"refused {2**29} True"], done.stderr


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_a_job_beyond_its_cap_ends_as_out_of_memory_with_the_cap_and_advice(tmp_path, wide_base, quantisation):
    jobdir = training_job(
        tmp_path, base=wide_base, quantisation=quantisation, device="cuda:0", device_memory_bytes=10**8
    )
    assert spawn_afresh(jobdir).wait(120) == 0
    error = jobdir.outcome().error
    assert error["code"] == Code.OUT_OF_MEMORY, jobdir.log.read_text()[-2000:]
    assert "0.1 GB of cuda:0" in error["message"] and "TUNEROOM_DEVICE_MEMORY_BYTES" in error["message"]


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_the_same_job_trains_under_a_cap_that_holds_it(tmp_path, wide_base, quantisation):
    jobdir = training_job(
        tmp_path, base=wide_base, quantisation=quantisation, device="cuda:0", device_memory_bytes=4 * 10**9,
        learning_rate=1e-4,
    )  # fmt: skip
    assert spawn_afresh(jobdir).wait(180) == 0
    assert jobdir.outcome().status == "succeeded", jobdir.log.read_text()[-2000:]
    assert "torch may allocate 4000000000 of the" in jobdir.log.read_text()


def test_a_cap_larger_than_the_device_fails_the_job_with_a_sentence(tmp_path):
    jobdir = training_job(tmp_path, device="cuda:0", device_memory_bytes=10**14)
    assert spawn_afresh(jobdir).wait(60) == 0
    error = jobdir.outcome().error
    assert error["code"] == Code.INVALID_SETTING and "more than the" in error["message"]


def test_the_chat_worker_caps_itself_and_does_not_start_with_a_cap_larger_than_the_device(tmp_path):
    settings = Settings(data_dir=tmp_path, chat_device="cuda:0", chat_device_memory_bytes=10**14)
    database = Database(settings.database)
    migrate(database)
    database.close()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker.chat_app"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**os.environ, **settings.child_environment(), "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "more than the" in done.stderr and "Traceback" not in done.stderr
