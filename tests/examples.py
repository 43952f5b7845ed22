"""Hypothesis strategies for examples: everything that a format must carry there and back."""

from hypothesis import strategies as st

from models.domain.example import Conversation, Role, Text, ToolCall, Turn

# Whole characters only, and no NUL: both are refused at intake.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
said = words.filter(str.strip)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
_calls = st.builds(ToolCall, name=said, arguments=st.dictionaries(words, _values, max_size=3), id=st.none() | said)


def texts():
    return st.builds(Text, text=said)


def questions_and_answers():
    return st.builds(lambda question, answer: Conversation(turns=(_user(question), _answer(answer))), said, said)


def plain_conversations():
    """Question and answer in turns, perhaps a system text before them."""
    pairs = st.lists(st.tuples(said, said), min_size=1, max_size=3)
    return st.builds(_plain, st.none() | said, pairs)


@st.composite
def conversations(draw):
    """All that messages can hold: names, weights, reasoning, tools, calls with results."""
    turns = [Turn(role=Role.SYSTEM, content=draw(words)) for _ in range(draw(st.integers(0, 2)))]
    optional = st.none() | said
    for _ in range(draw(st.integers(1, 3))):
        turns.append(_user(draw(said), name=draw(optional)))
        if draw(st.booleans()):
            calls = tuple(draw(st.lists(_calls, min_size=1, max_size=2)))
            turns.append(Turn(role=Role.ASSISTANT, content=draw(words), tool_calls=calls, reasoning=draw(optional)))
            turns += [Turn(role=Role.TOOL, content=draw(words), tool_call_id=call.id) for call in calls]
        turns.append(_answer(draw(said), weight=draw(st.sampled_from([0, 1])), reasoning=draw(optional)))
    if not any(turn.weight for turn in turns if turn.role is Role.ASSISTANT):
        turns += [_user("And?"), _answer("Yes.")]
    names = draw(st.lists(said, max_size=2))
    tools = tuple({"type": "function", "function": {"name": name, "parameters": {}}} for name in names)
    return Conversation(turns=tuple(turns), tools=tools)


def _plain(system, pairs):
    opening = [] if system is None else [Turn(role=Role.SYSTEM, content=system)]
    talk = [turn for question, answer in pairs for turn in (_user(question), _answer(answer))]
    return Conversation(turns=(*opening, *talk))


def _user(content, **more):
    return Turn(role=Role.USER, content=content, **more)


def _answer(content, **more):
    return Turn(role=Role.ASSISTANT, content=content, **more)
