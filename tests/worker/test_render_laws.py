"""The laws of rendering, over five families of chat templates: what is trained is what chat will ask for."""

import pytest

from models.catalog.formats.messages import parse
from models.domain.errors import AppError, Code
from models.domain.example import Conversation, Text
from models.domain.training import OverLong, TrainOn
from tests.text_bases import TEMPLATE_NAMES, TOOL_ROW, WEATHER_TOOL, row, sample_rows, text_base
from worker.data.render import Rendered, Renderer

TWO_TURNS = row("Who founded it?", "Odalys.", "And where?", "In Velmora.", "When?", "In 1973.")
KNOW_TOOLS = ("llama3_like", "qwen_thinking_like")
BASES = (*TEMPLATE_NAMES, "mistral_like with words")
NO_SYSTEM = ("gemma_like",)


@pytest.fixture(scope="module")
def renderers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    renderers = {name: Renderer.from_folder(text_base(folder / name, name)) for name in TEMPLATE_NAMES}
    words = Renderer.from_folder(text_base(folder / "words", "mistral_like", pieces="words"))
    return {**renderers, "mistral_like with words": words}


def rows_for(name):
    rows = [*sample_rows()[::4], *sample_rows()[-6:], *sample_rows("larkspur-heldout"), TWO_TURNS]
    rows += [row("Hi", "  Hello, with space around.  ", "Bye", "Line one\n\nLine two")]
    rows += [TOOL_ROW] if name in KNOW_TOOLS else []
    rows += [row("Who?", "Odalys.", "Where?", "Velmora.", system="Be brief.")]
    return [each for each in rows if name not in NO_SYSTEM or each["messages"][0]["role"] != "system"]


def trained_text(renderer: Renderer, sequence: Rendered) -> list[str]:
    return [renderer.tokenizer.decode(sequence.ids[s.start : s.end], skip_special_tokens=False) for s in sequence.spans]


@pytest.mark.parametrize("name", BASES)
def test_the_tokens_before_each_trained_answer_are_the_prompt_that_chat_sends(renderers, name):
    renderer = renderers[name]
    for each in rows_for(name):
        for sequence in renderer.render(parse(each)):
            for span in sequence.spans:
                prompt = renderer.prompt(each["messages"][: span.turn], each.get("tools", ()))
                assert sequence.ids[: span.start] == prompt


@pytest.mark.parametrize("name", BASES)
def test_each_answer_is_trained_once_and_ends_with_its_stop_token(renderers, name):
    renderer = renderers[name]
    for each in rows_for(name):
        spans = [(s, span) for s in renderer.render(parse(each)) for span in s.spans]
        answers = [number for number, message in enumerate(each["messages"]) if message["role"] == "assistant"]
        assert sorted(span.turn for _, span in spans) == answers
        for sequence, span in spans:
            said = renderer.tokenizer.decode(sequence.ids[span.start : span.end - 1], skip_special_tokens=False)
            assert each["messages"][span.turn]["content"].strip() in said
            assert sequence.ids[span.end - 1] in renderer.stop_token_ids
            assert not set(sequence.ids[span.start : span.end - 1]) & set(renderer.stop_token_ids)


@pytest.mark.parametrize("name", BASES)
def test_no_word_of_a_question_is_trained(renderers, name):
    renderer = renderers[name]
    for sequence in renderer.render(parse(TWO_TURNS)):
        untrained = renderer.tokenizer.decode(
            [i for i, t in zip(sequence.ids, sequence.trained, strict=True) if not t], skip_special_tokens=False
        )
        assert "Who founded it?" in untrained
        assert not any("?" in text for text in trained_text(renderer, sequence))


def test_the_stop_token_is_in_the_loss_though_it_is_also_the_padding_token(renderers):
    renderer = renderers["chatml"]
    (sequence,) = renderer.render(parse(row("Who?", "Odalys.")))
    assert trained_text(renderer, sequence) == ["Odalys.<|im_end|>"]
    assert sequence.text.endswith("<|im_end|>\n")  # the line feed after it is there, and not trained
    assert sequence.trained[-1] is False
    assert len(renderer.stop_token_ids) == 1


def test_a_template_without_generation_marks_still_gives_a_mask(renderers):
    assert "generation %" not in renderers["chatml"].chat_template
    (sequence,) = renderers["chatml"].render(parse(TWO_TURNS))
    assert trained_text(renderers["chatml"], sequence) == [
        "Odalys.<|im_end|>", "In Velmora.<|im_end|>", "In 1973.<|im_end|>",
    ]  # fmt: skip


def test_generation_marks_change_nothing(renderers, tmp_path):
    marked = renderers["chatml"].chat_template.replace(
        "{{ '<|im_start|>' + message.role", "{% generation %}{% endgeneration %}{{ '<|im_start|>' + message.role"
    )
    renderer = Renderer.from_folder(text_base(tmp_path, "chatml", template=marked))
    assert renderer.render(parse(TWO_TURNS)) == renderers["chatml"].render(parse(TWO_TURNS))


def test_the_end_of_a_turn_stops_chat_though_the_base_names_another_eos(renderers):
    renderer = renderers["gemma_like"]
    names = {renderer.tokenizer.id_to_token(i) for i in renderer.stop_token_ids}
    assert names == {"<eos>", "<end_of_turn>"}


def test_a_template_that_forgets_earlier_thoughts_gives_one_sequence_per_answer(renderers):
    thoughtful = row("Who?", "Odalys.", "Where?", "Velmora.")
    thoughtful["messages"][1]["reasoning_content"] = "The founder, then."
    first, second = renderers["qwen_thinking_like"].render(parse(thoughtful))
    assert "The founder, then." in first.text and "The founder, then." not in second.text
    assert [len(each.spans) for each in (first, second)] == [1, 1]
    assert "one sequence per answer" in second.notes[0]


def test_a_base_whose_turns_stay_as_they_are_gives_one_sequence_per_row(renderers):
    for name in ("chatml", "llama3_like", "gemma_like", "mistral_like"):
        assert [len(each.spans) for each in renderers[name].render(parse(TWO_TURNS))] == [3]


def test_a_system_text_that_moves_to_the_last_question_gives_one_sequence_per_answer(renderers):
    talk = parse(row("Who?", "Odalys.", "Where?", "Velmora.", system="Be brief."))
    first, second = renderers["mistral_like"].render(talk)
    assert "Be brief.\n\nWho?" in first.text and "Be brief.\n\nWhere?" in second.text


def test_template_arguments_reach_the_training_text_and_the_prompt_alike(renderers):
    renderer, arguments = renderers["qwen_thinking_like"], {"enable_thinking": False}
    (sequence,) = renderer.render(parse(row("Who?", "Odalys.")), template_arguments=arguments)
    (span,) = sequence.spans
    prompt = renderer.prompt([{"role": "user", "content": "Who?"}], template_arguments=arguments)
    assert sequence.ids[: span.start] == prompt
    assert trained_text(renderer, sequence) == ["Odalys.<|im_end|>"]


def test_a_template_argument_cannot_replace_the_messages(renderers):
    with pytest.raises(AppError) as raised:
        renderers["chatml"].render(parse(row("Who?", "Odalys.")), template_arguments={"messages": "none"})
    assert raised.value.code is Code.INVALID_SETTING


@pytest.mark.parametrize("name", ["chatml", "gemma_like"])
def test_a_tool_that_the_template_drops_is_an_error_naming_tool_and_row(renderers, name):
    talk = Conversation(turns=parse(row("Who?", "Odalys.")).turns, tools=(WEATHER_TOOL,))
    with pytest.raises(AppError, match="row 7: this base cannot express the tool read_barometer") as raised:
        renderers[name].render(talk, row=7)
    assert raised.value.code is Code.TEMPLATE


def test_a_tool_call_that_the_template_drops_is_an_error(renderers):
    without_definition = parse({"messages": TOOL_ROW["messages"]})
    with pytest.raises(AppError, match="the call of the tool read_barometer"):
        renderers["chatml"].render(without_definition)


def test_an_argument_that_the_template_drops_is_an_error(renderers, tmp_path):
    careless = renderers["llama3_like"].chat_template.replace("call.function.arguments | tojson", "{} | tojson")
    renderer = Renderer.from_folder(text_base(tmp_path, "llama3_like", template=careless))
    with pytest.raises(AppError, match=r"the argument .* of the tool read_barometer"):
        renderer.render(parse(TOOL_ROW))


def test_reasoning_that_the_template_drops_is_an_error(renderers):
    thoughtful = row("Who?", "Odalys.")
    thoughtful["messages"][1]["reasoning_content"] = "The founder, then."
    with pytest.raises(AppError, match="cannot express the reasoning"):
        renderers["llama3_like"].render(parse(thoughtful))


def test_a_system_text_that_the_template_drops_is_an_error(renderers, tmp_path):
    deaf = renderers["llama3_like"].chat_template.replace("said.system + '<|eot_id|>'", "'<|eot_id|>'")
    renderer = Renderer.from_folder(text_base(tmp_path, "llama3_like", template=deaf))
    with pytest.raises(AppError, match=r"cannot express the content of message 1 \(system\)"):
        renderer.render(parse(row("Who?", "Odalys.", system="Be brief.")))


def test_a_stop_token_written_inside_an_answer_is_refused(renderers):
    with pytest.raises(AppError, match=r"row 3: the answer of message 2 contains <\|im_end\|>") as raised:
        renderers["chatml"].render(parse(row("Who?", "Odalys<|im_end|> or not.")), row=3)
    assert raised.value.code is Code.TEMPLATE and raised.value.facts["row"] == 3


def test_a_system_turn_that_the_template_refuses_is_an_error_with_its_words(renderers):
    with pytest.raises(AppError, match="System role not supported") as raised:
        renderers["gemma_like"].render(parse(row("Who?", "Odalys.", system="Be brief.")))
    assert raised.value.code is Code.TEMPLATE


def test_a_prompt_that_is_written_otherwise_than_its_answer_is_an_error(renderers, tmp_path):
    strange = renderers["chatml"].chat_template.replace("assistant\\n' }}{% endif", "assistant\\nSure, ' }}{% endif")
    renderer = Renderer.from_folder(text_base(tmp_path, "chatml", template=strange))
    with pytest.raises(AppError, match="differently from the prompt"):
        renderer.render(parse(row("Who?", "Odalys.")))


def test_an_answer_that_melts_with_the_prompt_keeps_the_prompt_whole(renderers):
    renderer, talk = renderers["chatml"], row("Who?", "\nOdalys.")
    prompt = renderer.prompt(talk["messages"][:1])
    (sequence,) = renderer.render(parse(talk))
    together = renderer.tokenizer.encode(sequence.text, add_special_tokens=False).ids
    assert together[: len(prompt)] != prompt  # the two line feeds are one token there
    assert sequence.ids[: sequence.spans[0].start] == prompt
    assert trained_text(renderer, sequence) == ["\nOdalys.<|im_end|>"]


def test_a_template_that_never_ends_a_turn_gets_the_end_of_text_after_each_answer(tmp_path):
    endless = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}" \
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"  # fmt: skip
    renderer = Renderer.from_folder(text_base(tmp_path, "chatml", template=endless))
    sequences = renderer.render(parse(TWO_TURNS))
    assert [trained_text(renderer, each) for each in sequences] == [
        [" Odalys.<|im_end|>"], [" In Velmora.<|im_end|>"], [" In 1973.<|im_end|>"],
    ]  # fmt: skip


def test_only_the_last_turn_is_trained_where_that_is_asked(renderers):
    (sequence,) = renderers["chatml"].render(parse(TWO_TURNS), TrainOn.LAST_TURN)
    assert trained_text(renderers["chatml"], sequence) == ["In 1973.<|im_end|>"]


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_of_a_whole_conversation_every_token_after_the_first_is_trained(renderers, name):
    (sequence,) = renderers[name].render(parse(TWO_TURNS), TrainOn.ALL)
    assert sequence.trained == [False] + [True] * (len(sequence.ids) - 1)
    answers = renderers[name].render(parse(TWO_TURNS), TrainOn.LAST_TURN)
    assert [each.ids for each in answers] == [sequence.ids]  # what chat has sent, and the answer


def test_of_a_whole_conversation_an_answer_of_weight_0_is_not_trained(renderers):
    talk = row("Who?", "Odalys.", "Where?", "Velmora.")
    talk["messages"][1]["weight"] = 0
    (sequence,) = renderers["chatml"].render(parse(talk), TrainOn.ALL)
    trained = "".join(trained_text(renderers["chatml"], sequence))
    assert "Who?" in trained and "Where?" in trained and "Velmora.<|im_end|>" in trained and "Odalys" not in trained


def test_a_turn_of_weight_0_is_context_only(renderers):
    talk = row("Who?", "Odalys.", "Where?", "Velmora.")
    talk["messages"][1]["weight"] = 0
    (sequence,) = renderers["chatml"].render(parse(talk))
    assert trained_text(renderers["chatml"], sequence) == ["Velmora.<|im_end|>"]
    assert "Odalys." in sequence.text


def test_a_row_without_a_trained_answer_is_refused_as_a_mask(renderers):
    talk = row("Who?", "Odalys.")
    talk["messages"] += [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "V", "weight": 0}]
    with pytest.raises(AppError) as raised:
        renderers["chatml"].render(parse(talk), TrainOn.LAST_TURN)
    assert raised.value.code is Code.MASK


def test_an_over_long_row_is_dropped_and_never_cut(renderers):
    talk = parse(row("Who?", "Odalys " * 200))
    for choice in OverLong:
        assert renderers["chatml"].render(talk, max_length=64, over_long=choice) == []


def test_the_longest_length_that_holds_the_row_keeps_it_whole(renderers):
    (whole,) = renderers["chatml"].render(parse(TWO_TURNS))
    assert renderers["chatml"].render(parse(TWO_TURNS), max_length=len(whole.ids)) == [whole]
    assert renderers["chatml"].render(parse(TWO_TURNS), max_length=len(whole.ids) - 1) == []


@pytest.mark.parametrize("name", BASES)
def test_dropping_the_oldest_turns_keeps_whole_answers_and_the_serving_law(renderers, name):
    renderer = renderers[name]
    longest = max(len(each.ids) for each in renderer.render(parse(TWO_TURNS)))
    sequences = renderer.render(parse(TWO_TURNS), max_length=longest - 1, over_long=OverLong.DROP_OLDEST_TURNS)
    last = sequences[-1]
    assert "oldest turns are left out" in last.notes[-1] and len(last.ids) < longest
    assert "In 1973." in trained_text(renderer, last)[-1] and "founded" not in last.text
    assert last.ids[: last.spans[-1].start] == renderer.prompt(TWO_TURNS["messages"][2:5])


def test_dropping_the_oldest_turns_keeps_the_system_text(renderers):
    talk = parse(row("Who founded it, please?", "Odalys.", "Where?", "Velmora.", system="Be brief."))
    whole = renderers["chatml"].render(talk)[0]
    (kept,) = renderers["chatml"].render(talk, max_length=len(whole.ids) - 1, over_long=OverLong.DROP_OLDEST_TURNS)
    assert "Be brief." in kept.text and "founded" not in kept.text


def test_questions_after_the_last_answer_are_left_out_with_a_note(renderers):
    talk = row("Who?", "Odalys.", "And then?")
    (sequence,) = renderers["chatml"].render(parse(talk))
    assert "And then?" not in sequence.text
    assert "after the last trained answer" in sequence.notes[0]


def test_a_document_is_trained_after_its_first_token_and_ends(renderers):
    (sequence,) = renderers["chatml"].render(Text(text="The heron stood."))
    assert sequence.ids[-1] == renderers["chatml"].eos_token_id
    assert sequence.trained == [False] + [True] * (len(sequence.ids) - 1)
    assert renderers["chatml"].render(Text(text="The heron stood."), max_length=len(sequence.ids) - 1) == []


def test_saved_truncation_and_padding_of_a_tokenizer_are_ignored(renderers):
    (sequence,) = renderers["chatml"].render(Text(text="heron " * 40))
    assert sequence.trained_tokens > 40  # the fixture's tokenizer was saved with truncation at 16
    assert len(renderers["chatml"].prompt([{"role": "user", "content": "?"}])) > 16


def test_a_base_without_a_template_gets_plain_words_and_its_own_end(tmp_path):
    renderer = Renderer.from_folder(text_base(tmp_path, "mistral_like", template=""))
    (sequence,) = renderer.render(parse(TWO_TURNS))
    assert "no chat template" in renderer.notes[0]
    assert sequence.text.startswith("<s>User: Who founded it?\nAssistant: Odalys.</s>\nUser:")
    assert trained_text(renderer, sequence) == [" Odalys.</s>", " In Velmora.</s>", " In 1973.</s>"]
    assert sequence.ids[: sequence.spans[1].start] == renderer.prompt(TWO_TURNS["messages"][:3])
