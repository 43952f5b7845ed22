"""What a child loads before it can train, and what it does without until it is needed."""

import subprocess
import sys
from pathlib import Path

import torch

from worker.importing import compiled_later

ROOT = Path(__file__).parents[2]
LOADED = """
import sys
from worker.importing import importing

with importing():
    import worker.merge.run, worker.train.run
import bitsandbytes.backends.default.ops as ops, torch
print("torch._inductor.compile_fx" in sys.modules, ops.torch.compile is torch.compile, torch.compile.__module__)
"""


def test_a_child_loads_no_compiler_and_torch_compiles_as_ever_afterwards():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "torch"]


def test_a_function_that_is_compiled_at_its_first_call_answers_as_it_does_itself():
    def doubled(numbers: torch.Tensor) -> torch.Tensor:
        return numbers * 2 + 1

    later = compiled_later(doubled, backend="eager", dynamic=False)
    assert later.__name__ == "doubled"
    for count in (3, 3, 5):
        numbers = torch.arange(count, dtype=torch.float32)
        assert torch.equal(later(numbers), doubled(numbers))
