"""Templates and folders that are broken or hostile: a sentence, never a crash and never a way out of the sandbox."""

from datetime import datetime

import pytest

from models.domain.errors import AppError, Code
from tests.text_bases import text_base
from worker.data.render import Renderer
from worker.data.template import LARGEST_TEMPLATE_BYTES, ChatTemplate

ASKED = [{"role": "user", "content": "Who?"}]
WAYS_OUT = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ raise_exception.__globals__ }}",
    "{{ self._TemplateReference__context }}{{ namespace(__init__=1) }}",
    "{% set n = namespace() %}{% set n.__class__ = 1 %}",
    "{{ messages.append({'role': 'user'}) }}",
    "{% include '/etc/hostname' %}",
    "{{ '%s' | attr('format') | attr('__globals__') }}{{ ''.format.__self__ }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
]
BROKEN = [
    "{% for %}",
    "{{ messages | no_such_filter }}",
    "{{ messages[7].content }}",
    "{{ 1 / 0 }}",
    "{{ 'a' + none }}",
    "{{ no_such_function() }}",
    "{{ range(999999999) | list }}",
    "{{ raise_exception('not like this') }}",
    "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "{{ messages | first | tojson(indent='x') }}{{ {}.pop() }}",
]


def prompt_by(template, tmp_path):
    folder = text_base(tmp_path, "chatml", template=template)
    return Renderer.from_folder(folder).prompt(ASKED)


@pytest.mark.parametrize("template", WAYS_OUT)
def test_a_template_finds_no_way_out_of_the_sandbox(template, tmp_path):
    try:
        assert prompt_by(template, tmp_path) == []  # the sandbox gave it nothing to show
    except AppError as refusal:
        assert refusal.code is Code.TEMPLATE


@pytest.mark.parametrize("template", BROKEN)
def test_a_broken_template_is_refused_with_a_sentence(template, tmp_path):
    with pytest.raises(AppError, match="chat template") as raised:
        prompt_by(template, tmp_path)
    assert raised.value.code is Code.TEMPLATE
    assert "Traceback" not in raised.value.message and str(tmp_path) not in raised.value.message


def test_a_template_over_64_kb_is_not_compiled(tmp_path):
    with pytest.raises(AppError, match="at most 65536 bytes"):
        ChatTemplate("x" * (LARGEST_TEMPLATE_BYTES + 1))
    ChatTemplate("x" * LARGEST_TEMPLATE_BYTES)


def test_a_base_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(AppError, match=r"holds no tokenizer\.json") as raised:
        Renderer.from_folder(tmp_path)
    assert raised.value.code is Code.INVALID_BASE


@pytest.mark.parametrize("content", ["", "{}", "[1]", "not json", '{"model": {"type": "BPE", "vocab": 3}}'])
def test_a_tokenizer_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(AppError, match="cannot be read") as raised:
        Renderer.from_folder(tmp_path)
    assert raised.value.code is Code.INVALID_BASE and str(tmp_path) not in raised.value.message


def test_a_config_that_is_not_json_is_refused_by_name(tmp_path):
    (text_base(tmp_path, "chatml") / "generation_config.json").write_text("{")
    with pytest.raises(AppError, match=r"its generation_config\.json is not JSON"):
        Renderer.from_folder(tmp_path)


def test_a_base_that_names_no_end_of_text_is_refused(tmp_path):
    for number, token in enumerate([None, "<not in the vocabulary>"]):
        folder = text_base(tmp_path / str(number), "chatml", eos_token=token)
        with pytest.raises(AppError, match="names no end-of-text token") as raised:
            Renderer.from_folder(folder)
        assert raised.value.code is Code.INVALID_BASE


def test_half_a_character_in_a_question_is_refused(tmp_path):
    renderer = Renderer.from_folder(text_base(tmp_path, "chatml"))
    with pytest.raises(AppError, match="half a character"):
        renderer.prompt([{"role": "user", "content": "\ud83e"}])


def test_a_chat_message_of_an_unknown_role_is_refused_by_its_number(tmp_path):
    renderer = Renderer.from_folder(text_base(tmp_path, "chatml"))
    with pytest.raises(AppError, match=r"messages\[1\]\.role"):
        renderer.prompt([*ASKED, {"role": "narrator", "content": "Meanwhile"}])


def test_the_stop_ids_of_the_generation_config_count_too(tmp_path):
    folder = text_base(tmp_path, "llama3_like")
    known = Renderer.from_folder(folder)
    other = known.tokenizer.token_to_id("<|end_of_text|>")
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": [{known.eos_token_id}, {other}]}}')
    assert set(Renderer.from_folder(folder).stop_token_ids) == {known.eos_token_id, other}


def test_a_date_in_the_template_stands_still_where_the_clock_is_given(tmp_path):
    folder = text_base(tmp_path, "llama3_like")
    renderer = Renderer.from_folder(folder, now=lambda: datetime(1973, 5, 1))
    assert "Today: 01 May 1973" in renderer.tokenizer.decode(renderer.prompt(ASKED), skip_special_tokens=False)
