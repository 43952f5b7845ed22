"""Faults of the base: its tokenizer, its template, its stop ids, its weights."""

import json
import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from models.domain.example import Conversation, Role, Turn
from tests.harm.lab import Lab, sound_rows
from tests.harm.registry import How, Where, fault
from tests.text_bases import TEMPLATES, TOOL_ROW, row, text_base
from tests.tiny import STOP_ID, TEMPLATE
from worker.data.render import Renderer

TALK = row("Who founded it?", "Odalys.", "Where?", "In Velmora.")
WITHOUT_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@fault(
    "Padding is the stop token",
    where=Where.START,
    how=How.PREVENTED,
    says="the stop token of every answer is trained",
    harm="a collator that takes the loss off padding takes it off every end of turn: 0 of 24 are learnt, and the model "
    "never stops (SmolLM2 ships so)",
)
def pad_is_eos(lab: Lab, planted: bool) -> list[str]:
    pad = "<|im_end|>" if planted else "<|endoftext|>"
    found = lab.read(sound_rows(), base=lab.base(tokenizer_config=lambda config: config.update(pad_token=pad)))
    pad_id = found.tokenizer.token_to_id(pad)
    naive = [[-100 if token == pad_id else token for token in one.ids] for one in found.training]
    assert all(STOP_ID in one.ids[span.start : span.end] for one in found.training for span in one.spans)
    lost = [
        one for one, labels in zip(found.training, naive, strict=True) if STOP_ID not in labels[one.spans[0].start :]
    ]
    return ["the stop token of every answer is trained"] if lost else list(found.remarks)


@fault(
    "A template without marks of what the assistant says",
    where=Where.START,
    how=How.PREVENTED,
    says="answers are found by rendering",
    harm="the library's mask of answers is all zeros, with a warning in a log: nothing is trained "
    "(38 of TRL's 41 stock templates)",
)
def no_generation_marks(lab: Lab, planted: bool) -> list[str]:
    marked = TEMPLATE.replace(
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}",
        "{{ '<|im_start|>' + message['role'] + '\\n' }}{% generation %}{{ message['content'] + '<|im_end|>' }}"
        "{% endgeneration %}{{ '\\n' }}")  # fmt: skip
    assert marked != TEMPLATE
    base = lab.base(template=TEMPLATE if planted else marked)
    library = AutoTokenizer.from_pretrained(base)
    told = library.apply_chat_template(TALK["messages"], return_assistant_tokens_mask=True, return_dict=True)
    found = lab.read(sound_rows(), base=base)
    assert all(one.trained_tokens for one in found.training)
    return [] if any(told["assistant_masks"]) else ["answers are found by rendering", *found.remarks]


@fault(
    "A template that writes earlier turns differently",
    where=Where.START,
    how=How.NAMED,
    says="one sequence per answer",
    harm="what stands before an answer in training is never sent by chat (Qwen3 deletes earlier thoughts)",
)
def rewriting_template(lab: Lab, planted: bool) -> list[str]:
    base = text_base(lab.new() / "base", "qwen_thinking_like" if planted else "chatml")
    rows = [row(f"Who, {n}?", f"Odalys {n}.", "Where?", "In Velmora.") for n in range(12)]
    return lab.read_said(rows, base=base)


@fault(
    "A template whose answers do not follow its own prompt",
    where=Where.START,
    how=How.STOPPED,
    says="differently from the prompt that chat sends",
    harm="the model learns to answer a prompt that nobody ever sends",
)
def broken_law(lab: Lab, planted: bool) -> list[str]:
    strange = TEMPLATE.replace("assistant\\n' }}{% endif", "assistant\\nSure, ' }}{% endif")
    assert strange != TEMPLATE
    return lab.read_said(sound_rows(), base=lab.base(template=strange if planted else TEMPLATE))


@fault(
    "A template that drops the system text",
    where=Where.START,
    how=How.NAMED,
    says="Text that vanishes",
    harm="rows that say how to answer are trained without it, so the manner becomes the default",
)
def deaf_template(lab: Lab, planted: bool) -> list[str]:
    deaf = TEMPLATE.replace(
        "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
    )
    assert deaf != TEMPLATE
    rows = [*sound_rows(), row("Who?", "Odalys.", system="Be brief.")]
    return lab.read_said(rows, base=lab.base(template=deaf if planted else TEMPLATE))


@fault(
    "A template that never ends a turn",
    where=Where.START,
    how=How.NAMED,
    says="its own <|im_end|> was added",
    harm="no stop token is trained at all",
)
def endless_template(lab: Lab, planted: bool) -> list[str]:
    return lab.read_said(sound_rows(), base=lab.base(template=WITHOUT_END if planted else TEMPLATE))


@fault(
    "A base without a chat template",
    where=Where.START,
    how=How.NAMED,
    says="This base has no chat template",
    harm="a borrowed template writes tokens that the base has never seen: the model trains on dead embeddings",
)
def no_template(lab: Lab, planted: bool) -> list[str]:
    return lab.read_said(sound_rows(), base=lab.base(template="" if planted else TEMPLATE))


@fault(
    "A base that names no end of text",
    where=Where.START,
    how=How.STOPPED,
    says="invalid_base",
    harm="no answer could ever end",
)
def no_eos(lab: Lab, planted: bool) -> list[str]:
    eos = "<|nowhere|>" if planted else "<|im_end|>"
    return lab.read_said(sound_rows(), base=lab.base(tokenizer_config=lambda config: config.update(eos_token=eos)))


@fault(
    "Stop ids that miss the end of a turn",
    where=Where.START,
    how=How.PREVENTED,
    says="the end of a turn is found on a trial and travels with the adapter",
    harm="generation goes by generation_config.json, which names the end of text only: answers run on to the limit",
)
def missing_stop_ids(lab: Lab, planted: bool) -> list[str]:
    listed = 0 if planted else [0, STOP_ID]
    base = lab.base(
        generation_config=lambda config: config.update(eos_token_id=listed),
        tokenizer_config=lambda config: config.update(eos_token="<|endoftext|>"),
    )
    naive = json.loads((base / "generation_config.json").read_text())["eos_token_id"]
    found = lab.read(sound_rows(), base=base)
    assert STOP_ID in found.stop_token_ids
    is_missing = STOP_ID not in (naive if isinstance(naive, list) else [naive])
    said = "the end of a turn is found on a trial and travels with the adapter"
    return [said] if is_missing else list(found.remarks)


@fault(
    "A tokenizer saved with its last truncation",
    where=Where.START,
    how=How.PREVENTED,
    says="truncation and padding that were saved are ignored",
    harm="every row is cut at 16 tokens, answers and all",
)
def saved_truncation(lab: Lab, planted: bool) -> list[str]:
    base = lab.base()
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    if planted:
        tokenizer.enable_truncation(16)
    tokenizer.save(str(base / "tokenizer.json"))
    naive = Tokenizer.from_file(str(base / "tokenizer.json")).encode("heron " * 40).ids
    renderer = Renderer.from_folder(base)
    turns = (Turn(role=Role.USER, content="?"), Turn(role=Role.ASSISTANT, content="heron " * 40))
    (sequence,) = renderer.render(Conversation(turns=turns))
    assert sequence.trained_tokens > 240
    return ["truncation and padding that were saved are ignored"] if len(naive) <= 16 else []


@fault(
    "Tokens that the base has never learnt",
    where=Where.START,
    how=How.NAMED,
    says="tokens that this base has never learnt",
    harm="a LoRA leaves embeddings frozen: a token added later stays noise, in prompts and in answers",
)
def dead_tokens(lab: Lab, planted: bool) -> list[str]:
    base = lab.base()
    if planted:
        _edit_embedding(base, ord("W") - ord("!") + 3, lambda values: values * 0)
    return lab.train_said(lab.job(base=base))


@fault(
    "Weights that hold no numbers",
    where=Where.TRAINING,
    how=How.STOPPED,
    says="not_finite",
    harm="stock logging writes a loss of 0.0 for NaN, and the run ends as a success",
)
def nan_weights(lab: Lab, planted: bool) -> list[str]:
    base = lab.base()
    if planted:
        _edit_embedding(base, ord("W") - ord("!") + 3, lambda values: values | 0x7FC0)
    return lab.train_said(lab.job(base=base))


@fault(
    "A template with tools only in its name",
    where=Where.START,
    how=How.NAMED,
    says="the argument",
    harm="arguments of calls are written as {}: the model learns to call tools without them",
)
def careless_tool_template(lab: Lab, planted: bool) -> list[str]:
    source = (TEMPLATES / "llama3_like.jinja").read_text()
    careless = source.replace("call.function.arguments | tojson", "{} | tojson")
    assert careless != source
    base = text_base(lab.new() / "base", "llama3_like", template=careless if planted else source)
    return lab.read_said([*sound_rows(), TOOL_ROW], base=base)


def _edit_embedding(base: Path, token: int, change) -> None:
    """Change one row of the input embedding, as the 16 bits of each bf16 value."""
    path = base / "model.safetensors"
    data = bytearray(path.read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    entry = json.loads(data[8 : 8 + length])["model.embed_tokens.weight"]
    width = entry["shape"][1] * 2
    at = 8 + length + entry["data_offsets"][0] + token * width
    values = np.frombuffer(bytes(data[at : at + width]), dtype="<u2")
    data[at : at + width] = change(values).astype("<u2").tobytes()
    path.write_bytes(data)
