"""Hypothesis strategies for examples: everything that a format must carry there and back."""

from hypothesis import strategies as st

from models.domain.example import Conversation, Labelled, Preference, Role, Text, ToolCall, Turn

# Whole characters only, and no NUL: both are refused at intake.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
said = words.filter(str.strip)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
_calls = st.builds(ToolCall, name=said, arguments=st.dictionaries(words, _values, max_size=3), id=st.none() | said)


@st.composite
def _answer_turns(draw):
    """An answer, perhaps with a call and its result before it."""
    answer = _answer(draw(said), reasoning=draw(st.none() | said))
    if draw(st.booleans()):
        return (answer,)
    call = draw(_calls)
    asking = Turn(role=Role.ASSISTANT, content=draw(words), tool_calls=(call,))
    return asking, Turn(role=Role.TOOL, content=draw(words), tool_call_id=call.id), answer


_answers = _answer_turns()


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


def said_conversations():
    """Conversations that say something wherever they say anything: no white space alone beside a call."""
    return conversations().filter(lambda talk: all(turn.content.strip() or not turn.content for turn in talk.turns))


def completions():
    """Conversations whose untrained answers all stand before the trained ones."""

    def is_split(talk):
        weights = [turn.weight for turn in talk.turns if turn.role is Role.ASSISTANT]
        return weights == sorted(weights)

    return questions_and_answers() | conversations().filter(is_split)


def preferences():
    """A talk that waits for an answer, and two that differ."""
    return st.tuples(conversations(), _answers, _answers).filter(lambda three: three[1] != three[2]).map(_preference)


def plain_preferences():
    """Two texts as answers to a plain question."""
    answers = st.lists(said, min_size=2, max_size=2, unique=True)
    return st.builds(_plain_preference, plain_conversations(), answers)


def labelled(most_turns=3):
    """A talk that waits for an answer, and one that was judged."""
    answers = _answers.filter(lambda answer: len(answer) <= most_turns)
    return st.builds(_labelled, conversations(), answers, st.booleans())


def _asked(talk):
    """The talk up to its last question."""
    last = max(place for place, turn in enumerate(talk.turns) if turn.role is Role.USER)
    return talk.turns[: last + 1]


def _preference(three):
    talk, chosen, rejected = three
    return Preference(prompt=_asked(talk), chosen=chosen, rejected=rejected, tools=talk.tools)


def _plain_preference(talk, answers):
    chosen, rejected = ((_answer(each),) for each in answers)
    return Preference(prompt=talk.turns[:-1], chosen=chosen, rejected=rejected)


def _labelled(talk, answer, label):
    return Labelled(prompt=_asked(talk), completion=answer, label=label, tools=talk.tools)


def _plain(system, pairs):
    opening = [] if system is None else [Turn(role=Role.SYSTEM, content=system)]
    talk = [turn for question, answer in pairs for turn in (_user(question), _answer(answer))]
    return Conversation(turns=(*opening, *talk))


def _user(content, **more):
    return Turn(role=Role.USER, content=content, **more)


def _answer(content, **more):
    return Turn(role=Role.ASSISTANT, content=content, **more)
