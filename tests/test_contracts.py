"""The laws of who may import whom, as written in pyproject.toml, hold; and they bite."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SABOTAGE = {
    "webapp/actions/sneaky.py": ("def load():\n    import torch\n", "only worker may reach the ML stack"),
    "worker/train/sneaky.py": ("import worker.chat\n", "train, merge and chat do not know each other"),
    "models/domain/sneaky.py": ("import models.infra.settings\n", "domain and catalog are pure"),
    "webapp/routes/sneaky.py": ("import models.db.store.system\n", "only these files may touch the store"),
    "worker/data/sneaky.py": ("import redis\n", "the child knows a directory and nothing else"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter as `make check` runs it, on the tree in `folder`."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_import_law_holds():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_each_broken_law_is_noticed_also_inside_a_function(tmp_path):
    for room in ("models", "webapp", "worker"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, (code, _) in SABOTAGE.items():
        (tmp_path / name).write_text(code)
    done = lint(tmp_path)
    assert done.returncode == 1
    for _, law in SABOTAGE.values():
        assert f"{law} BROKEN" in done.stdout
