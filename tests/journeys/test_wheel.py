"""The built wheel is a whole installation: it runs from any folder, without the checkout."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx
import pytest

from tests.journeys.launched import ROOT, eventually, processes_of, without_bundled_base
from webapp.ownership import read_record


@pytest.fixture
def installed(tmp_path) -> Path:
    """`bin` of an environment that has the wheel of this checkout and sees the libraries of ours."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    home = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    wheel = next(tmp_path.glob("*.whl"))
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True)
    packages = next((home / "lib").glob("python*")) / "site-packages"
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin"


def test_the_wheel_serves_from_a_folder_with_misleading_names(installed, tmp_path, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)
    elsewhere = tmp_path / "elsewhere"
    for name in ("models", "worker", "webapp"):  # in the working directory they must not shadow ours
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    up = subprocess.Popen(
        [installed / "tuneroom", "up", "--port", "0", "--no-open"],
        cwd=elsewhere, env=os.environ | {"TUNEROOM_DATA_DIR": "state"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: is_ready(elsewhere / "state"), 60)
    finally:
        up.terminate()
        assert up.wait(60) == 0
    assert processes_of(tmp_path) == []


def is_ready(data_dir: Path) -> bool:
    """Database, storage, broker and a worker of every lane: all of them came out of the wheel."""
    record = read_record(data_dir)
    try:
        return record is not None and httpx.get(f"{record.url}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
