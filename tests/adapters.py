"""Random LoRA adapters with honest manifests, for tests that need one without a training."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.domain.adapter import AdapterManifest
from models.domain.base_model import BaseFacts
from models.domain.training import Quantisation
from worker.jobdir import sha256_of
from worker.merge.tensor_files import TensorFiles

TREE = "a" * 64  # the sha256 that stands for the base folder's listing
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def random_adapter(
    path: Path,
    base_dir: Path,
    targets: tuple[str, ...] = LINEAR,
    rank: int = 4,
    size: float = 0.1,
    seed: int = 0,
    quantisation: Quantisation = Quantisation.NF4,
    rslora: bool = False,
    tree_sha256: str = TREE,
) -> Path:
    """Write adapter_model.safetensors, adapter_config.json and manifest.json; `size` is the spread of A and B."""
    path.mkdir(parents=True)
    base = TensorFiles(base_dir)
    names = [name.removesuffix(".weight") for name in (*base.names(), "lm_head.weight")]
    modules = sorted({name for name in names if name.rpartition(".")[2] in targets})
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for module in modules:
        source = f"{module}.weight" if f"{module}.weight" in base.names() else "model.embed_tokens.weight"
        out, inside = base.shape(source)
        tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(rank, inside, generator=draw) * size
        tensors[f"base_model.model.{module}.lora_B.weight"] = torch.randn(out, rank, generator=draw) * size
    save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny", "r": rank,
        "lora_alpha": 2 * rank, "lora_dropout": 0.0, "bias": "none", "use_rslora": rslora,
        "target_modules": sorted(set(targets)), "inference_mode": True,
    }  # fmt: skip
    (path / "adapter_config.json").write_text(json.dumps(config, sort_keys=True))
    manifest = _manifest(path, base_dir, tuple(modules), quantisation, tree_sha256)
    (path / "manifest.json").write_text(manifest.model_dump_json(indent=1))
    return path


def _manifest(
    path: Path, base_dir: Path, modules: tuple[str, ...], quantisation: Quantisation, tree_sha256: str
) -> AdapterManifest:
    facts = BaseFacts.model_validate_json((base_dir / "facts.json").read_text())
    return AdapterManifest.model_validate(
        {
            "base": {
                "name": "tiny", "tree_sha256": tree_sha256, "config_sha256": sha256_of(base_dir / "config.json"),
                "tokenizer_sha256": facts.tokenizer_sha256, "chat_template_sha256": facts.chat_template_sha256,
            },
            "quantisation": quantisation, "compute_dtype": "fp32", "template_arguments": {},
            "stop_token_ids": facts.stop_token_ids, "method": "lora", "method_options": {}, "target_modules": modules,
            "weights_sha256": sha256_of(path / "adapter_model.safetensors"), "seed": 0,
            "data": {
                "training_sha256": "b" * 64, "rows": 1, "steps": 1, "trained_tokens": 1, "first_loss": 1,
                "last_loss": 1, "heldout_loss_before": None, "heldout_loss_after": None,
            },
            "machine": {"device": "cpu", "cpu_model": "test", "threads": 1, "versions": {}},
        }
    )  # fmt: skip
