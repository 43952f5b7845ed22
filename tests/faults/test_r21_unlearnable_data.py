"""R21: data and weights that cannot be learnt from end as a refusal or a failure that names row or step.

Not one of them ends as "succeeded".
"""

import json
import struct

import numpy
import pytest

from models.domain.errors import AppError, Code
from tests.sources import write_source
from tests.training import conversations, losses, training_job
from worker.stop import Stop
from worker.train.run import run


def failure(jobdir) -> AppError:
    with pytest.raises(AppError) as caught:
        run(jobdir, Stop())
    assert not (jobdir.out / "manifest.json").exists()
    return caught.value


def weightless(rows):
    """The same rows with every assistant turn kept out of the loss."""
    return [{"messages": [row["messages"][0], {**row["messages"][1], "weight": 0}]} for row in rows]


def test_a_base_that_computes_no_numbers_fails_before_the_first_step_and_is_named(tmp_path):
    jobdir = training_job(tmp_path)
    spoil(jobdir.inputs / "base" / "model.safetensors")
    error = failure(jobdir)
    assert error.code is Code.NOT_FINITE and error.facts["step"] == 0 and "Import the base again" in error.message
    assert losses(jobdir) == {}


def test_a_run_that_blows_up_stops_before_the_weights_are_spoilt(tmp_path):
    jobdir = training_job(tmp_path, learning_rate=1.0, learning_rate_multiplier=100, epochs=20, max_grad_norm=1000)
    order = json.loads((jobdir.root / "spec.json").read_text())
    order["payload"]["method"]["options"] |= {"alpha": 4096, "rank": 1}
    (jobdir.root / "spec.json").write_text(json.dumps(order))
    spoil(jobdir.inputs / "base" / "model.safetensors", scale=1e18)
    error = failure(jobdir)
    assert error.code is Code.NOT_FINITE
    assert f"step {error.facts['step']} " in error.message


def test_rows_whose_answers_all_carry_no_weight_are_a_mask_error(tmp_path):
    error = failure(training_job(tmp_path, rows=weightless(conversations())))
    assert error.code in (Code.MASK, Code.INVALID_TRAINING_FILE)


def test_one_row_without_a_trained_token_is_left_out_and_named(tmp_path):
    rows = conversations()
    jobdir = training_job(tmp_path, rows=[*rows[:5], *weightless(rows[5:6]), *rows[6:]])
    assert run(jobdir, Stop()).result["manifest"]["data"]["rows"] == 11
    said = [one.text for one in jobdir.said_since(0)[0] if one.type == "message"]
    assert any("1 of 12 rows cannot be used and is left out: No answer (1); first: Row 6" in text for text in said)


def test_an_empty_file_is_refused(tmp_path):
    jobdir = training_job(tmp_path)
    write_source(jobdir.inputs / "train", b"")
    assert failure(jobdir).code is Code.INVALID_TRAINING_FILE


def test_one_row_is_refused(tmp_path):
    error = failure(training_job(tmp_path, rows=conversations(1)))
    assert error.code is Code.INVALID_TRAINING_FILE and "1 usable rows" in error.message


def test_rows_that_are_all_too_long_are_refused(tmp_path):
    error = failure(training_job(tmp_path, data={"max_length": 16}))
    assert error.code is Code.MASK and "max_length" in error.message


def test_rows_of_no_format_are_refused(tmp_path):
    jobdir = training_job(tmp_path)
    write_source(jobdir.inputs / "train", [{"sunshine": number} for number in range(20)])
    assert failure(jobdir).code is Code.INVALID_TRAINING_FILE


def spoil(path, scale: float | None = None) -> None:
    """Put NaN into the last norm of the base, or scale it beyond what a float can square."""
    data = bytearray(path.read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    begin, end = (8 + length + offset for offset in header["model.norm.weight"]["data_offsets"])
    count = (end - begin) // 2
    values = numpy.full(count, numpy.nan if scale is None else scale, dtype="<f4")
    data[begin:end] = (values.view("<u4") >> 16).astype("<u2").tobytes()
    path.write_bytes(data)
