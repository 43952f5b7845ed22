"""Prompts are written by a child process: equal to the renderer's own, and no template can hang or fill the worker."""

import time

import pytest

from models.domain.errors import AppError, Code, Invalid
from tests.tiny import tiny_base
from worker.chat.prompts import Prompts
from worker.data.render import Renderer

QUESTION = [{"role": "user", "content": "How is Zoë's 猫? \U0001f408"}]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("prompts") / "base")


@pytest.fixture
def prompts():
    made = Prompts(prompt_seconds=1.0)
    yield made
    made.close()


def test_a_prompt_is_the_renderers_own(base, prompts):
    renderer = Renderer.from_folder(base)
    prompt = prompts.render(base, QUESTION, {})
    assert prompt.ids == renderer.prompt(QUESTION)
    assert prompt.stop_ids == renderer.stop_token_ids


def test_a_refusal_comes_back_as_it_was_raised(base, prompts):
    with pytest.raises(Invalid) as ours:
        prompts.render(base, [{"role": "user"}], {})
    with pytest.raises(Invalid) as theirs:
        Renderer.from_folder(base).prompt([{"role": "user"}])
    assert ours.value.to_json() == theirs.value.to_json()


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HUGE = "{% set ns = namespace(x='x' * 99999) %}{% for a in range(30) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"


@pytest.mark.parametrize(("bomb", "says"), [(ENDLESS, "did not come to an end"), (HUGE, "512 MB")])
def test_a_template_that_hangs_or_fills_memory_is_ended_and_others_go_on(tmp_path, base, prompts, bomb, says):
    bad = tiny_base(tmp_path / "bad")
    spares_two = "{% if messages|length > 2 %}" + bomb + "{% endif %}"  # opening a base renders a trial of two turns
    (bad / "chat_template.jinja").write_text(spares_two + (bad / "chat_template.jinja").read_text())
    prompts.render(bad, QUESTION, {})
    began = time.monotonic()
    with pytest.raises(AppError, match=says) as caught:
        prompts.render(bad, QUESTION * 3, {})
    assert caught.value.code is Code.TEMPLATE
    assert time.monotonic() - began < 10
    assert prompts.render(base, QUESTION, {}).ids
