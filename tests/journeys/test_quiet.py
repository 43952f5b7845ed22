"""Nothing of ours calls home: what the running processes were told, and what their libraries made of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from models.infra.quiet import QUIET
from models.infra.settings import Settings
from tests.house import migrated_sqlite
from worker.jobdir import JobDir, Order
from worker.spawn import spawn

TALKATIVE = {
    "GRADIO_ANALYTICS_ENABLED": "True", "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "DO_NOT_TRACK": "0",
    "HF_HUB_DISABLE_TELEMETRY": "0",
}  # fmt: skip
WORKERS_OWN = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "gguf", "safetensors")  # not in web
ASK = """
import json, os, sys
sys.modules.update(dict.fromkeys(%r))  # as if they were not installed: an import raises
from webapp.app import make_app
from webapp.deps import Deps
from models.infra.settings import Settings
make_app(Deps.open(Settings()), with_pages=True)
import gradio, gradio.analytics, huggingface_hub.constants as hub
print(json.dumps({
    "environment": {name: os.environ.get(name) for name in %r},
    "gradio": gradio.analytics.analytics_enabled(),
    "hub": [hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY],
}))
"""


def test_the_web_process_starts_without_torch_and_is_quiet_whatever_it_was_told(tmp_path):
    settings = migrated_sqlite(Settings(data_dir=tmp_path / "data"))
    env = os.environ | TALKATIVE | {"TUNEROOM_DATA_DIR": str(settings.data_dir)}
    done = subprocess.run(
        [sys.executable, "-c", ASK % (WORKERS_OWN, sorted(QUIET))], env=env, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"environment": QUIET, "gradio": False, "hub": [True, True]}


def test_a_running_child_was_started_quiet(tmp_path, monkeypatch):
    for name, value in TALKATIVE.items():
        monkeypatch.setenv(name, value)
    jobdir = JobDir(tmp_path / "job")
    jobdir.root.mkdir()
    jobdir.lay_out(Order(job="job-x", fence=1, kind="toy", payload={"count": 1000, "seconds_each": 0.1}))
    child = spawn(jobdir, threads=1)
    try:
        deadline = time.monotonic() + 20
        while b"worker.child" not in Path(f"/proc/{child.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        told = Path(f"/proc/{child.pid}/environ").read_bytes().decode().split("\0")
        assert {f"{name}={value}" for name, value in QUIET.items()} <= set(told)
    finally:
        child.reap()
