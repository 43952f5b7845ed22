"""R11: the newest checkpoint is damaged, each file in each way; the one before is taken, never the damaged one.

That the run says so: `tests/worker/test_staging.py`.
"""

import json

import pytest

from tests.training import training_job
from worker.jobdir import newest_valid_checkpoint
from worker.stop import Stop
from worker.train.run import run


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit, in the middle."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The folder of a real training with two of them."""
    jobdir = training_job(tmp_path_factory.mktemp("run"), epochs=2)
    run(jobdir, Stop())
    return jobdir.checkpoints


@pytest.mark.parametrize("damage", [cut, flipped, None], ids=["cut", "one bit", "gone"])
def test_the_one_before_is_taken_whichever_file_is_damaged(checkpoints, damage):
    before, newest = sorted(checkpoints.glob("step-*"))
    found = newest_valid_checkpoint(checkpoints)
    assert found is not None and found[0] == newest
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    assert {"adapter_model.safetensors", "manifest.json", "optimizer.pt"} < {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        path.unlink()
        if damage is not None:
            path.write_bytes(damage(content))
        taken = newest_valid_checkpoint(checkpoints)
        assert taken is not None and taken[0] == before, path.name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert newest_valid_checkpoint(checkpoints) == found


def test_no_bit_of_a_manifest_can_change_unseen(checkpoints):
    """Losses, moments of improvement and the cut of a step stand there: a resume would go on with wrong ones."""
    before, newest = sorted(checkpoints.glob("step-*"))
    manifest = newest / "manifest.json"
    content = manifest.read_bytes()
    for place in range(0, len(content), 3):
        for bit in (1, 16):
            manifest.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            if json_of(manifest) != json_of(content):  # not a blank between two words
                taken = newest_valid_checkpoint(checkpoints)
                assert taken is not None and taken[0] == before, (place, bit)
    manifest.write_bytes(content)


def json_of(source):
    try:
        return json.loads(source if isinstance(source, bytes) else source.read_bytes())
    except ValueError:
        return None
