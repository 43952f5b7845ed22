"""Dresses merged weights as a canonical base folder: config, tokenizer, template, stop ids, shapes, facts, manifest.

Copies and adjusts files; knows nothing of tensors. No clock and no machine in what it writes: equal merges are
equal bytes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from models.domain.adapter import AdapterManifest
from models.domain.merging import MergeManifest, MergeReport, MergeSpec
from worker.bases.canonical import write_facts, write_shapes
from worker.jobdir import write_atomically
from worker.loading import base_facts

MANIFEST = "manifest.json"
REPORT = "merge_report.json"
WRITTEN_ANEW = {"config.json", "generation_config.json", "shapes.json", "facts.json", MANIFEST, REPORT}
DTYPE_NAMES = {"bf16": "bfloat16", "fp32": "float32"}


def dress(folder: Path, base_dir: Path, manifest: AdapterManifest, spec: MergeSpec, unties_head: bool) -> None:
    """Put beside the merged weights in `folder` everything that makes them a base of their own."""
    for path in sorted(base_dir.iterdir()):
        if path.is_file() and path.name not in WRITTEN_ANEW and ".safetensors" not in path.name:
            shutil.copyfile(path, folder / path.name)
    _write_config(folder, base_dir, spec, unties_head)
    _write_generation_config(folder, base_dir, manifest.stop_token_ids)
    write_shapes(folder)
    mode = f"on the base from {manifest.quantisation.words}" if spec.mode == "as_tested" else "in full precision"
    write_facts(
        folder, licence=base_facts(base_dir).licence, source="merge", revision=None,
        remark=f"{manifest.base.name} with an adapter merged {mode}, stored as {spec.storage}",
    )  # fmt: skip
    made = MergeManifest(
        base=manifest.base, adapter_weights_sha256=manifest.weights_sha256, trained_on=manifest.quantisation,
        spec=spec, template_arguments=manifest.template_arguments, stop_token_ids=manifest.stop_token_ids,
    )  # fmt: skip
    write_atomically(folder / MANIFEST, made.model_dump_json(indent=1))


def write_report(folder: Path, report: MergeReport) -> None:
    write_atomically(folder / REPORT, report.model_dump_json(indent=1))


def _write_config(folder: Path, base_dir: Path, spec: MergeSpec, unties_head: bool) -> None:
    config: dict[str, Any] = json.loads((base_dir / "config.json").read_text())
    for name in ("quantization_config", "torch_dtype", "_name_or_path"):
        config.pop(name, None)
    config["dtype"] = DTYPE_NAMES[spec.storage]
    if unties_head:
        # A tied config would throw the merged head away on reload (transformers#45127).
        config["tie_word_embeddings"] = False
    write_atomically(folder / "config.json", json.dumps(config, indent=1, sort_keys=True))


def _write_generation_config(folder: Path, base_dir: Path, stop_token_ids: tuple[int, ...]) -> None:
    """The base's, stopping where the adapter was taught to stop."""
    path = base_dir / "generation_config.json"
    config: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    config["eos_token_id"] = list(stop_token_ids)
    write_atomically(folder / "generation_config.json", json.dumps(config, indent=1, sort_keys=True))
