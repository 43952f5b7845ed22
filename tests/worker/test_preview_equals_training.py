"""What the page shows of a row is, token by token, what a training of it uses; or the row is named with its reason."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from models.catalog.prepared import Prepared
from models.domain.example import EXAMPLE, Conversation, Labelled, Preference, Role, Text, Turn
from models.domain.preview import RowPreview, SeenSequence
from models.domain.training import OverLong, TrainingSpec, TrainOn
from tests.sources import write_source
from tests.text_bases import TEMPLATE_NAMES, TOOL_ROW, row, sample_rows, text_base
from worker.data.previewing import MOST_PIECES, preview
from worker.data.render import Renderer
from worker.data.sandbox import Sandbox
from worker.train.inputs import TrainingFacts, read_inputs

BASES = (*TEMPLATE_NAMES, "words", "bare")
UNICODE = row("Ünïcödé 🦦 and 日本語?", "Ja — gewiß: 🦦 日本.", "a < b?", "  &amp; so\n\n ")
NAMED = {  # what these bases cannot say, by the rows below
    "chatml": {"tools": "tools_vanish", "reasoning": "reasoning_vanishes", "stop": "stop_inside_answer"},
    "llama3_like": {"reasoning": "reasoning_vanishes"},
    "mistral_like": {"tools": "template_refuses", "reasoning": "reasoning_vanishes"},
    "gemma_like": {"tools": "template_refuses", "reasoning": "reasoning_vanishes", "system": "template_refuses"},
    "qwen_thinking_like": {"stop": "stop_inside_answer"},
    "words": {"tools": "template_refuses", "reasoning": "reasoning_vanishes"},
    "bare": {"tools": "tools_vanish", "reasoning": "reasoning_vanishes"},
}


def special_rows() -> dict[str, dict]:
    thoughtful, light = row("Who?", "Odalys.", "Where?", "Velmora."), row("Who?", "Odalys.", "Where?", "Velmora.")
    thoughtful["messages"][1]["reasoning_content"] = "The founder, then."
    light["messages"][1]["weight"] = 0
    return {
        "turns": row("Who founded it?", "Odalys.", "And where?", "In Velmora.", "When?", "In 1973."),
        "system": row("Who?", "Odalys.", "Where?", "Velmora.", system="Be brief."),
        "tools": TOOL_ROW, "reasoning": thoughtful, "weight": light,
        "stop": row("Who?", "Odalys<|im_end|> or not."),
        "open": row("Who?", "Odalys.", "And then?"),
        "long": row("Who?", "Odalys. " * 60, "Where?", "Velmora."),
        "space": row("Who?", "\nOdalys.  ", "Where?", " Velmora\n\n"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """For each base a job's inputs: the base, and the rows as one dataset version."""
    homes = {}
    for name in BASES:
        home = tmp_path_factory.mktemp(name)
        kind = {"words": "mistral_like", "bare": "mistral_like"}.get(name, name)
        template = "" if name == "bare" else None
        text_base(home / "base", kind, pieces="words" if name == "words" else "bytes", template=template)
        rows = [*special_rows().values(), *sample_rows()[::16], *([UNICODE] if name != "words" else [])]
        write_source(home / "train", rows)
        trained_on(home)  # prepares the rows, as a training of a file that nobody has checked does
        homes[name] = home
    return homes


@pytest.fixture(scope="module")
def sandbox():
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


def trained_on(home: Path, **data) -> list:
    """The sequences that a training of these rows takes, in order."""
    settings = {"training_file": "file-1", "validation_fraction": 0, **data}
    spec = TrainingSpec.model_validate({"base": "base-1", "data": settings})
    facts = TrainingFacts.model_validate({"base_name": "b", "base_tree_sha256": "0" * 64})
    return list(read_inputs(home, spec, facts, datetime.now()).training)


def previews(home: Path, sandbox: Sandbox, **data) -> list[RowPreview]:
    """Every row as the page gets it, from the child."""
    asked = {"max_length": 2048, "over_long": "drop", "train_on": "assistant", "arguments": {}, "rows": 0} | data
    asked["arguments"] = asked.pop("template_arguments", asked["arguments"])
    return [
        RowPreview.model_validate(
            sandbox.ask(home / "base", "preview", {**asked, "row": number, "example": example.model_dump(mode="json")})
        )
        for number, example in Prepared(home / "train" / "rows.parquet").examples()
    ]


def used(seen: list[RowPreview]) -> list[SeenSequence]:
    return [sequence for each in seen for sequence in each.sequences if sequence.is_used]


CHOICES = [
    {},
    {"train_on": "last_turn"},
    {"train_on": "all"},
    {"train_on": "all", "max_length": 90, "over_long": "drop_oldest_turns"},
    {"max_length": 60},
    {"max_length": 90, "over_long": "drop_oldest_turns"},
    {"template_arguments": {"enable_thinking": False}},
]


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    "choice", CHOICES, ids=["usual", "last turn", "all", "all, oldest", "short", "oldest", "arguments"]
)
def test_the_tokens_shown_are_the_tokens_trained_on(homes, sandbox, name, choice):
    trained, shown = trained_on(homes[name], **choice), used(previews(homes[name], sandbox, **choice))
    assert len(shown) == len(trained) >= 2
    for seen, sequence in zip(shown, trained, strict=True):
        assert [piece.id for piece in seen.pieces] == sequence.ids
        assert [piece.trained for piece in seen.pieces] == sequence.trained
        assert (seen.tokens, seen.trained_tokens) == (len(sequence.ids), sequence.trained_tokens)


@pytest.mark.parametrize("name", BASES)
def test_the_texts_of_the_tokens_join_to_the_text_that_is_rendered(homes, sandbox, name):
    plain = Renderer.from_folder(homes[name] / "base")
    examples = dict(Prepared(homes[name] / "train" / "rows.parquet").examples())
    for seen in previews(homes[name], sandbox):
        texts = ["".join(piece.text for piece in each.pieces) for each in seen.sequences]
        assert texts == ([each.text for each in plain.render(examples[seen.row])] if seen.kind is None else [])


@pytest.mark.parametrize("name", BASES)
def test_rows_that_a_base_cannot_say_are_named_and_no_others(homes, sandbox, name):
    seen = dict(zip(special_rows(), previews(homes[name], sandbox), strict=False))
    assert {row: each.kind for row, each in seen.items() if each.kind is not None} == NAMED[name]
    for each in seen.values():
        assert bool(each.problem) == (not each.sequences) == (each.kind is not None)


@pytest.mark.parametrize("name", BASES)
def test_before_each_trained_answer_stands_the_prompt_that_chat_sends(homes, sandbox, name):
    renderer = Renderer.from_folder(homes[name] / "base")
    compared = 0
    for seen in previews(homes[name], sandbox):
        talk = EXAMPLE.validate_python(seen.example)
        if not isinstance(talk, Conversation):
            continue
        messages = [_message(turn) for turn in talk.turns]
        answers = [n for n, turn in enumerate(talk.turns) if turn.role is Role.ASSISTANT and turn.weight]
        starts = [
            [piece.id for piece in sequence.pieces[:place]] for sequence in seen.sequences
            for place, piece in enumerate(sequence.pieces) if piece.trained and not sequence.pieces[place - 1].trained
        ]  # fmt: skip
        assert seen.kind is not None or len(starts) == len(answers)
        for start, turn in zip(starts, answers, strict=False):
            assert start == renderer.prompt(messages[:turn], talk.tools)
            compared += 1
    assert compared >= 10


def _message(turn: Turn) -> dict:
    message = turn.model_dump(mode="json", exclude_defaults=True, exclude={"weight", "reasoning"})
    if turn.reasoning is not None:
        message["reasoning_content"] = turn.reasoning
    calls = [
        {"type": "function", "id": c.id, "function": {"name": c.name, "arguments": c.arguments}}
        for c in turn.tool_calls
    ]
    return {**message, "tool_calls": calls} if calls else message


def shown(homes, name, example, **choice) -> RowPreview:
    renderer = Renderer.from_folder(homes[name] / "base", shows_texts=True)
    return preview(renderer, example, row=1, rows=1, **{"max_length": 2048, **choice})


def test_a_character_that_spans_tokens_stands_with_the_last_of_them(homes):
    seen = shown(homes, "chatml", Text(text="ä 🦦!"))
    assert [piece.text for piece in seen.sequences[0].pieces] == [
        "<s>", "", "ä", " ", "", "", "", "🦦", "!", "<|im_end|>",
    ]  # fmt: skip
    assert [piece.special for piece in seen.sequences[0].pieces] == [True] + [False] * 8 + [True]


def test_special_tokens_are_marked_and_visible(homes, sandbox):
    (seen, *_) = previews(homes["chatml"], sandbox)[0].sequences
    special = [piece.text for piece in seen.pieces if piece.special]
    assert special.count("<|im_end|>") == 7 and set(special) == {"<|im_start|>", "<|im_end|>"}
    stops = [piece.trained for piece in seen.pieces if piece.text == "<|im_end|>"]
    assert stops == [False, False, True, False, True, False, True]


def test_a_row_that_is_left_out_is_shown_all_the_same(homes, sandbox):
    seen = dict(zip(special_rows(), previews(homes["chatml"], sandbox, max_length=60), strict=False))["long"]
    (sequence,) = seen.sequences
    assert not sequence.is_used and len(sequence.pieces) == sequence.tokens > 60


def test_a_base_without_a_template_says_what_stands_in_for_it(homes, sandbox):
    seen = previews(homes["bare"], sandbox)[0]
    assert "no chat template" in seen.notes[0] and "</s>" in seen.notes[0]
    assert "".join(piece.text for piece in seen.sequences[0].pieces).startswith("<s>User: Who founded it?")


@pytest.mark.parametrize("name", ["chatml", "words"])
def test_a_long_text_is_trained_in_parts_that_join_to_all_of_it(homes, name):
    text = "The heron stood by the water. " * 30
    (whole,) = shown(homes, name, Text(text=text)).sequences
    parts = shown(homes, name, Text(text=text), max_length=50, over_long=OverLong.SPLIT_TEXT)
    assert [len(each.pieces) for each in parts.sequences[:-1]] == [50] * (len(parts.sequences) - 1)
    assert [p.id for each in parts.sequences for p in each.pieces] == [p.id for p in whole.pieces]
    assert "".join(p.text for each in parts.sequences for p in each.pieces) == "".join(p.text for p in whole.pieces)
    assert [each.trained_tokens for each in parts.sequences] == [len(each.pieces) - 1 for each in parts.sequences]
    plain = Renderer.from_folder(homes[name] / "base")
    rendered = plain.render(Text(text=text), max_length=50, over_long=OverLong.SPLIT_TEXT)
    assert [each.text for each in plain.render(Text(text=text))] == ["".join(p.text for p in whole.pieces)]
    assert [each.ids for each in rendered] == [[p.id for p in each.pieces] for each in parts.sequences]
    assert [i for each in rendered for i in each.ids].count(plain.eos_token_id) == 1


def test_the_last_part_of_a_text_is_never_its_end_alone(homes):
    renderer = Renderer.from_folder(homes["chatml"] / "base")
    tokens = len(renderer.render(Text(text="heron " * 40))[0].ids)
    for length in range(16, tokens):
        parts = renderer.render(Text(text="heron " * 40), max_length=length, over_long=OverLong.SPLIT_TEXT)
        assert sum(len(part.ids) for part in parts) == tokens
        assert all(2 <= len(part.ids) <= length and part.trained_tokens for part in parts)


def test_a_conversation_is_never_split(homes):
    talk = Conversation(turns=tuple(Turn(role=Role(r), content="heron " * 40) for r in ("user", "assistant")))
    (sequence,) = shown(homes, "chatml", talk, max_length=50, over_long=OverLong.SPLIT_TEXT).sequences
    assert not sequence.is_used


def turns(*said: str) -> tuple[Turn, ...]:
    return tuple(Turn(role=Role.USER if n % 2 == 0 else Role.ASSISTANT, content=text) for n, text in enumerate(said))


def test_the_two_answers_of_a_comparison_are_both_shown_and_only_they_are_trained(homes):
    pair = Preference(
        prompt=turns("Who?", "A.", "Where?"), chosen=turns("", "Here.")[1:], rejected=turns("", "No.")[1:]
    )
    seen = shown(homes, "chatml", pair)
    assert [each.label for each in seen.sequences] == ["chosen", "rejected"]
    trained = ["".join(piece.text for piece in each.pieces if piece.trained) for each in seen.sequences]
    assert trained == ["Here.<|im_end|>", "No.<|im_end|>"]
    assert not any(each.is_used for each in shown(homes, "chatml", pair, max_length=20).sequences)


def test_an_answer_with_a_verdict_is_shown_as_one_sequence(homes):
    seen = shown(homes, "chatml", Labelled(prompt=turns("Who?"), completion=turns("", "Odalys.")[1:], label=True))
    assert "".join(p.text for p in seen.sequences[0].pieces if p.trained) == "Odalys.<|im_end|>"
    assert seen.kind is None and len(seen.sequences) == 1


def test_a_row_of_which_nothing_is_trained_is_named(homes):
    talk = Conversation(turns=(*turns("Who?"), Turn(role=Role.ASSISTANT, content="Odalys.", weight=0)))
    assert shown(homes, "chatml", talk).kind == "nothing_trained"
    assert shown(homes, "chatml", talk, train_on=TrainOn.LAST_TURN).kind == "nothing_trained"


def test_a_row_too_long_for_a_page_is_shown_in_part_and_says_so(homes):
    seen = shown(homes, "chatml", Text(text="x. " * MOST_PIECES), max_length=131_072)
    assert len(seen.sequences[0].pieces) == MOST_PIECES < seen.sequences[0].tokens
    assert "only the first 20,000 tokens" in seen.notes[-1]


def test_characters_that_the_tokenizer_has_no_token_for_are_named(homes):
    said = "this base's tokenizer has no tokens for some characters of this row."
    assert said in shown(homes, "words", Text(text="The 猫 stood.")).notes
    assert said in shown(homes, "words", Conversation(turns=turns("Wer?", "Süß."))).notes
    for name, text in (("words", "The heron stood."), ("chatml", "The 猫 stood.")):
        assert said not in shown(homes, name, Text(text=text)).notes


def test_an_unknown_token_among_the_tokens_is_named(tmp_path):
    folder = text_base(tmp_path, "mistral_like", pieces="words", unk_token="<pad>")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["unk_token"] = "<pad>"
    (folder / "tokenizer.json").write_text(json.dumps(content))
    renderer = Renderer.from_folder(folder)
    kinds = [renderer.render(Text(text=text))[0].note_kinds for text in ("The 猫.", "The cat.", "A <pad> here.")]
    assert kinds == [("unknown_characters",), (), ()]
