"""The words of every finding of the data gate: title, what it means, how grave it is, what to do. One list for all.

Pages, the command line and the remarks of a training take them from here. To add a kind, add it below; the kinds of
stage 1 are `Problem`, those of the other stages are named by the code that finds them.
"""

from dataclasses import dataclass
from enum import StrEnum

from models.catalog.formats.base import Problem


class Weight(StrEnum):
    """How grave a finding is."""

    UNUSABLE = "unusable"  # the row cannot be used with any base
    ERROR = "error"  # this base cannot be trained on the row: it is left out, or stops the run
    WARNING = "warning"  # the row is used as it is; look whether that is meant
    NOTE = "note"  # the row is used, and this was done with it

    @property
    def is_error(self) -> bool:
        return self in (Weight.UNUSABLE, Weight.ERROR)

    @property
    def gravity(self) -> int:
        """For sorting: 0 is the gravest."""
        return list(Weight).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """`explained` is one sentence, `remedy` what a person can do."""

    title: str
    explained: str
    weight: Weight
    remedy: str


def words_of(kind: str) -> Words:
    """Of any kind, also one that another version of this program wrote into a report."""
    return FINDINGS.get(kind) or Words(
        title=kind.replace("_", " ").capitalize(),
        explained="This version of Tuneroom does not know this kind of finding.",
        weight=Weight.WARNING,
        remedy="Check the file again.",
    )


def _unusable(title: str, explained: str, remedy: str) -> Words:
    return Words(title=title, explained=explained, weight=Weight.UNUSABLE, remedy=remedy)


def _error(title: str, explained: str, remedy: str) -> Words:
    return Words(title=title, explained=explained, weight=Weight.ERROR, remedy=remedy)


def _warning(title: str, explained: str, remedy: str) -> Words:
    return Words(title=title, explained=explained, weight=Weight.WARNING, remedy=remedy)


def _note(title: str, explained: str, remedy: str = "Nothing needs to be done.") -> Words:
    return Words(title=title, explained=explained, weight=Weight.NOTE, remedy=remedy)


INTAKE: dict[str, Words] = {
    Problem.NOT_JSON: _unusable(
        "Not JSON",
        "The row is not one whole JSON value.",
        "Write one JSON object a line, with double quotes and without a comma at the end.",
    ),
    Problem.NOT_A_NUMBER: _unusable(
        "Not a number",
        "The row holds NaN, Infinity or a number too large to hold, which JSON has no word for.",
        "Write null or leave the field out.",
    ),
    Problem.HUGE_NUMBER: _unusable(
        "Number with too many digits",
        "The row holds a number of hundreds of digits.",
        "Write it as a text in quotes.",
    ),
    Problem.TOO_DEEP: _unusable(
        "Nested too deep", "Lists or objects stand in each other more than 64 deep.", "Flatten the row."
    ),
    Problem.INVALID_UTF8: _unusable(
        "Not UTF-8", "The row holds bytes that are no UTF-8 text, or half a character.", "Save the file as UTF-8."
    ),
    Problem.NUL: _unusable("NUL character", "The row holds the character 0, which no text has.", "Remove it."),
    Problem.CELL_TOO_LARGE: _unusable(
        "Over-long cell",
        "A text of the row, or the row itself, is larger than is read.",
        "Split the text over several rows.",
    ),
    Problem.RAGGED_ROW: _unusable(
        "Cells do not match the header",
        "The row of the table has more or fewer cells than its header, or a quote that does not end.",
        "Put cells that hold separators or line breaks in double quotes.",
    ),
    Problem.WRONG_TYPE: _unusable(
        "Wrong type",
        "A field holds another kind of value than the format needs.",
        "Correct the field, or choose another format or column.",
    ),
    Problem.MISSING_FIELD: _unusable(
        "Missing field",
        "A field that the format needs is not there.",
        "Add it, choose another format, or say which column holds it.",
    ),
    Problem.EMPTY_FIELD: _unusable(
        "Empty field", "A field that the format needs is empty or white space.", "Fill it, or remove the row."
    ),
    Problem.UNKNOWN_ROLE: _unusable(
        "Unknown role",
        "A message has a role that the format does not know.",
        "Use the roles system, user, assistant and tool, or those of the format.",
    ),
    Problem.ROLE_ORDER: _unusable(
        "Roles out of order",
        "Messages follow each other in an order that no chat has.",
        "Put the system message first and an answer after each question.",
    ),
    Problem.NO_ASSISTANT_TURN: _unusable(
        "No answer", "The row has no answer of the assistant to learn from.", "Add the answer, or remove the row."
    ),
    Problem.TOOL_CALL_UNREADABLE: _unusable(
        "Tool call that cannot be read",
        "The arguments of a tool call are no JSON object, or the call names no tool.",
        "Write the arguments as a JSON object.",
    ),
    Problem.SAME_ANSWERS: _unusable(
        "Answers that do not differ",
        "The chosen and the rejected answer are the same, so there is nothing to prefer.",
        "Correct one of them, or remove the row.",
    ),
}

GATE: dict[str, Words] = {
    "duplicate": _warning(
        "Exact duplicates",
        "The row says exactly the same as an earlier one, and so weighs more than others.",
        "Leave duplicates out when you start the run, if that is not meant.",
    ),
    "near_duplicate": _warning(
        "Near-duplicates",
        "The row says nearly the same as an earlier one, system messages and tools left aside.",
        "Look whether they are meant; near-duplicates can be kept on one side of the validation split.",
    ),
    "answer_cut": _warning(
        "Answers that seem cut off",
        "The longest answers end in the middle of a sentence and shorter ones do not, as if a limit had cut them; a "
        "model learns to stop there.",
        "Write them again with a higher limit, or remove the rows.",
    ),
    "email": _warning(
        "E-mail addresses",
        "The row holds what looks like an e-mail address, which a model may repeat to anybody.",
        "Replace it by a made-up one, such as name@example.org, unless it is meant.",
    ),
    "phone": _warning(
        "Phone numbers",
        "The row holds what looks like a phone number, which a model may repeat to anybody.",
        "Replace it, unless it is meant.",
    ),
    "card": _warning(
        "Payment card numbers",
        "The row holds a number with the length, beginning and check digit of a payment card.",
        "Remove it; a trained model cannot forget it.",
    ),
    "secret_key": _warning(
        "Secret keys",
        "The row holds what looks like an access key, a token or a private key.",
        "Revoke the key and remove it from the file; a trained model cannot forget it.",
    ),
}

OVERLAP: dict[str, Words] = {
    "overlap_same": _warning(
        "Validation rows that are trained on",
        "The same row stands in the training data, so validation measures memory.",
        "Remove the row from one of the two.",
    ),
    "overlap_near": _warning(
        "Validation rows nearly trained on",
        "A row of the training data says nearly the same, so validation looks better than the model is.",
        "Remove the row from one of the two.",
    ),
    "overlap_question": _warning(
        "Validation questions that are trained on",
        "The training data asks the same first question, in other letters or with another answer.",
        "Remove the row from one of the two, unless other answers to the same question are what you measure.",
    ),
}

TOKENS: dict[str, Words] = {
    "template_refuses": _error(
        "Refused by the base's template",
        "The base's chat template cannot write this row, or says no to it.",
        "Change the row, for example its roles or their order, or choose another base.",
    ),
    "tools_vanish": _error(
        "Tools that vanish",
        "The base's chat template leaves out tools or calls of them, so the model would learn from a row that lacks "
        "them.",
        "Choose a base whose template knows tools, or remove them from the row.",
    ),
    "content_vanishes": _error(
        "Text that vanishes",
        "The base's chat template leaves out text of the row.",
        "Choose another base, or move the text to where the template writes it.",
    ),
    "reasoning_vanishes": _error(
        "Reasoning that vanishes",
        "The base's chat template leaves out the reasoning of an answer.",
        "Choose a base whose template knows reasoning, or remove it from the row.",
    ),
    "serving_law": _error(
        "Trained as it is never served",
        "What stands before an answer in training differs from what chat sends at that place.",
        "Learn from the last answer of each row only, or choose another base.",
    ),
    "stop_inside_answer": _error(
        "Stop token inside an answer",
        "The answer holds the token that ends an answer, so the model would learn to go on after its end.",
        "Remove the token's text from the answer.",
    ),
    "too_slow": _error(
        "Too slow to write",
        "The base's chat template takes too long, or too much memory, to write this row.",
        "Shorten the row, or choose another base.",
    ),
    "nothing_trained": _error(
        "Nothing to train on",
        "No token of the row would be learned from, for example because each answer has the weight 0.",
        "Give an answer the weight 1, or remove the row.",
    ),
    "trained_in_part": _warning(
        "Trained in part",
        "Only some of the row's answers can be learned from; the others are context.",
        "Look at the row's preview to see which.",
    ),
    "unknown_characters": _warning(
        "Characters that the base does not know",
        "The base's tokenizer has no tokens for some characters of the row: it leaves them out, or writes one token "
        "for all of them.",
        "Choose another base if they matter.",
    ),
    "over_long": _warning(
        "Longer than the maximum",
        "A sequence of the row has more tokens than the maximum length, so a run leaves it out by default.",
        "Raise the maximum length, or let the run drop oldest turns or split texts.",
    ),
    "stop_added": _note(
        "Stop token added",
        "The base's template writes no stop token after the answer; its end-of-text token was added and is trained.",
    ),
    "unrolled": _note(
        "One sequence per answer",
        "The base's template writes earlier answers differently, so each answer is trained in a sequence of its own.",
        "Nothing needs to be done; the row takes more tokens.",
    ),
    "oldest_left_out": _note(
        "Oldest turns left out",
        "The conversation is longer than the maximum length; its oldest turns were left out, as the run asks for.",
    ),
    "text_split": _note(
        "Text in parts", "The text is longer than the maximum length and is trained in consecutive parts."
    ),
}

FINDINGS: dict[str, Words] = INTAKE | GATE | OVERLAP | TOKENS
