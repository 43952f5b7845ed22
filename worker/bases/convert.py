"""Turns a staged source (a GGUF file or a Hugging Face folder) into a canonical base folder. Knows no network.

Refuses pickles, checkpoints that bring their own code, models quantised for good and folders without a
tokenizer. What comes out loads with `worker.loading.load_base` and is described by shapes.json and facts.json.
"""

from pathlib import Path
from typing import NoReturn

import torch
from safetensors import safe_open

from models.domain.base_model import AddBaseSpec, Shapes
from models.domain.errors import Code, Invalid
from models.domain.job import Phase
from models.domain.progress import PhaseBegan, Progressed, Remarked
from worker.bases.canonical import write_facts, write_shapes
from worker.bases.folder import from_folder
from worker.bases.gguf_file import from_gguf
from worker.jobdir import JobDir, Outcome
from worker.stop import Stop


class _Stopped(Exception):
    """TERM arrived between two tensors; nothing half-made is worth keeping."""


def run(jobdir: JobDir, stop: Stop) -> Outcome:
    """in/source/ -> out/. `order.facts` may give licence, revision and source where the file does not."""
    order = jobdir.order()
    spec = AddBaseSpec.model_validate(order.payload)
    torch.set_num_threads(order.threads)
    jobdir.say(PhaseBegan(phase=Phase.CONVERTING))
    source = jobdir.inputs / "source"
    found = from_gguf(_only_gguf(source), jobdir.out) if _holds_gguf(source) else from_folder(source, jobdir.out)
    if stop.asked():
        return Outcome(status="stopped")
    jobdir.say(PhaseBegan(phase=Phase.CHECKING))
    try:
        _check_finite(jobdir, stop)
    except _Stopped:
        return Outcome(status="stopped")
    shapes = _shapes(jobdir.out)
    facts = write_facts(
        jobdir.out,
        licence=order.facts.get("licence") or found.licence,
        source=order.facts.get("source") or spec.source,
        revision=order.facts.get("revision"),
        remark=found.remark,
    )
    if facts.chat_template is None:
        jobdir.say(Remarked(level="warn", text="this base has no chat template: it can be trained on plain text only."))
    result = {"parameters": shapes.parameters, "licence": facts.licence, "remark": facts.remark, "title": found.title}
    return Outcome(status="succeeded", result=result)


def _holds_gguf(source: Path) -> bool:
    return any(source.glob("*.gguf"))


def _only_gguf(source: Path) -> Path:
    files = sorted(source.glob("*.gguf"))
    if len(files) > 1:
        _refuse(f"the folder holds {len(files)} GGUF files; one whole model in one file is needed. Name one of them.")
    return files[0]


def _check_finite(jobdir: JobDir, stop: Stop) -> None:
    """Every tensor once, straight from the files: a NaN in a base ends as a NaN in every training."""
    files = sorted(jobdir.out.glob("*.safetensors"))
    total, done = sum(_tensor_count(path) for path in files), 0
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if stop.asked():
                    raise _Stopped
                if not torch.isfinite(tensors.get_tensor(name)).all():
                    _refuse(f"the weight {name} holds a value that is no number (NaN or infinite). Get the file again.")
                done += 1
                if done % 50 == 0 or done == total:
                    jobdir.say(Progressed(done=done, total=total, unit="tensors"))


def _tensor_count(path: Path) -> int:
    with safe_open(path, framework="pt") as tensors:
        return len(tensors.keys())


def _shapes(out: Path) -> Shapes:
    try:
        return write_shapes(out)
    except (KeyError, StopIteration) as error:
        missing = error.args[0] if error.args else "an embedding"
        _refuse(f"the config of this base lacks {missing}; a decoder-only text model is needed. Choose another base.")


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_BASE)
