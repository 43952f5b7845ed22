"""Faults of the rows: what stands in them, what is missing, what repeats, and which of them measure."""

from random import Random
from typing import Any

from models.domain.errors import Code
from tests.harm.lab import BIRDS, Lab, refusal_of, sound_rows, words_of
from tests.harm.registry import How, Where, fault
from tests.sources import examine, write_source
from tests.text_bases import TOOL_ROW, row, text_base
from worker.data.gate.run import check
from worker.data.source import Source

LONG = (
    "The heron stands among the reeds below the old mill until the light is gone, and only then it lifts its wings and "
    "crosses the river to the far bank, where the ferry used to land and where nobody has come for many years now."
)


def _examined(lab: Lab, rows: list[dict[str, Any]]) -> list[str]:
    """What the first check of a file finds."""
    source = lab.new() / "data"
    write_source(source, rows)
    return words_of(examine(source / "files" / "0").problems)


def _gated(lab: Lab, rows: list[dict[str, Any]]) -> list[str]:
    """What the data gate finds: duplicates, near-duplicates, personal data, answers."""
    folder = lab.new() / "data"
    write_source(folder, rows)
    report = check(Source(folder).prepared(), lab.new() / "gate.parquet")
    repeated = ["duplicate"] if report.duplicates else []
    return [*repeated, *(["near_duplicate"] if report.near_rows else []), *words_of(report.findings)]


@fault(
    "Empty answers",
    where=Where.GATE,
    how=How.NAMED,
    says="empty_field",
    harm="the model learns to say nothing: its stop token is all that carries loss in such a row",
)
def empty_answers(lab: Lab, planted: bool) -> list[str]:
    return _examined(lab, [*sound_rows(), *([row("What now?", " ")] * 4 if planted else [])])


@fault(
    "Duplicated rows, when checked",
    where=Where.GATE,
    how=How.NAMED,
    says="duplicate",
    harm="one row a hundred times weighs as much as a hundred rows, and is learnt by heart",
)
def duplicates_in_the_gate(lab: Lab, planted: bool) -> list[str]:
    return _gated(lab, [*sound_rows(), *(sound_rows(1) * 8 if planted else [])])


@fault(
    "Duplicated rows, in a run",
    where=Where.START,
    how=How.NAMED,
    says="say exactly what an earlier row says",
    harm="the same, where nobody has looked at the report",
)
def duplicates_in_a_run(lab: Lab, planted: bool) -> list[str]:
    return lab.read_said([*sound_rows(), *(sound_rows(1) * 8 if planted else [])])


@fault(
    "Answers cut off at a limit, when checked",
    where=Where.GATE,
    how=How.NAMED,
    says="answer_cut",
    harm="the model learns to stop in the middle of a sentence",
)
def cut_answers_in_the_gate(lab: Lab, planted: bool) -> list[str]:
    return _gated(lab, _with_long_answers(160 if planted else None))


@fault(
    "Answers cut off at a limit, in a run",
    where=Where.START,
    how=How.NAMED,
    says="Answers that seem cut off",
    harm="the same, where nobody has looked at the report",
)
def cut_answers_in_a_run(lab: Lab, planted: bool) -> list[str]:
    return lab.read_said(_with_long_answers(160 if planted else None))


@fault(
    "A secret in the rows",
    where=Where.GATE,
    how=How.NAMED,
    says="secret_key",
    harm="the model repeats it to anybody who asks, and cannot be made to forget it",
)
def secrets(lab: Lab, planted: bool) -> list[str]:
    secret = "AKIA" + "J7Q2XN5RT3WV6ZPD" if planted else "in the drawer"
    return _gated(lab, [*sound_rows(), row("Where is the key of the boat house?", f"The key is {secret}.")])


@fault(
    "Validation rows that are trained on",
    where=Where.START,
    how=How.NAMED,
    says="are met in the training data",
    harm="validation measures memory: its loss falls although nothing general is learnt",
)
def leaked_validation(lab: Lab, planted: bool) -> list[str]:
    held_out = [row("Where does the ferry land?", "At the far bank."), row("Who keeps the light?", "Ida does.")]
    return lab.read_said(sound_rows(), validation=[*held_out, *(sound_rows(2) if planted else [])])


@fault(
    "Rows alike on both sides of the split",
    where=Where.START,
    how=How.NAMED,
    says="stand nearly word for word in what is trained on",
    harm="the same: each question stands there three times in other words, and one of them is held back",
)
def near_leak(lab: Lab, planted: bool) -> list[str]:
    rows = sound_rows(24)
    if planted:
        told = [LONG.replace("heron", bird).replace("mill", f"mill {n}") for n, bird in enumerate(BIRDS)]
        rows = [row(f"{told[n % 12]} Say {word}?", f"{word}.") for n in range(12) for word in ("why", "how", "when")]
    return lab.read_said(rows, validation_fraction=0.2)


@fault(
    "The same question on both sides of the split",
    where=Where.START,
    how=How.PREVENTED,
    says="the same question stays on one side",
    harm="of questions asked three times, a split row by row leaves nearly every held-back one in the training data",
)
def group_leak(lab: Lab, planted: bool) -> list[str]:
    times = 3 if planted else 1
    rows = [row(f"What did the {bird} see?", f"{bird} {n}.") for n in range(times) for bird in BIRDS * 1]
    found = lab.read(rows, validation_fraction=0.34)
    sides = [
        {found.tokenizer.decode(one.ids[: one.spans[0].start]) for one in side}
        for side in (found.training, found.validation)
    ]
    assert not sides[0] & sides[1] and all(sides)
    cut = len(rows) * 2 // 3  # what a split row by row does, of shuffled rows
    shuffled = sorted(rows, key=lambda one: one["messages"][1]["content"][::-1])
    naive = [{one["messages"][0]["content"] for one in part} for part in (shuffled[:cut], shuffled[cut:])]
    return ["the same question stays on one side"] if naive[0] & naive[1] else list(found.remarks)


@fault(
    "Tools that the base's template drops",
    where=Where.START,
    how=How.NAMED,
    says="Tools that vanish",
    harm="SmolLM2's template writes neither tools nor calls: an empty answer would be trained",
)
def dropped_tools(lab: Lab, planted: bool) -> list[str]:
    return lab.read_said([*sound_rows(), *([TOOL_ROW] if planted else [])])


@fault(
    "A stop token inside an answer",
    where=Where.START,
    how=How.NAMED,
    says="Stop token inside an answer",
    harm="the model learns to go on after its end",
)
def stop_inside(lab: Lab, planted: bool) -> list[str]:
    answer = "Odalys.<|im_end|> And more." if planted else "Odalys. And more."
    return lab.read_said([*sound_rows(), row("Who founded it?", answer)])


@fault(
    "Rows longer than the maximum, cut inside an answer",
    where=Where.START,
    how=How.NAMED,
    says="longer than",
    harm="cutting at the maximum takes the stop token away and teaches to write on and on",
)
def over_long(lab: Lab, planted: bool) -> list[str]:
    return lab.read_said([*sound_rows(), *([row("Tell me all.", "A fish. " * 40)] if planted else [])], max_length=160)


@fault(
    "Characters that the base's tokenizer does not know",
    where=Where.START,
    how=How.NAMED,
    says="no tokens for some characters",
    harm="they are left out, or all become one token: what they say is not learnt",
)
def unknown_characters(lab: Lab, planted: bool) -> list[str]:
    base = text_base(lab.new() / "base", "mistral_like", pieces="words")
    return lab.read_said([*sound_rows(), row("Who?", "Ωdalys 木." if planted else "Odalys.")], base=base)


@fault(
    "No answer carries loss",
    where=Where.START,
    how=How.STOPPED,
    says="mask",
    harm="the loss is logged as 0.0 and the run is called a success",
)
def nothing_trained(lab: Lab, planted: bool) -> list[str]:
    rows = [row(f"What did the {bird} see?", "A fish.", "And then?", "Two.") for bird in BIRDS]
    for one in rows if planted else []:
        one["messages"][3]["weight"] = 0
    return lab.read_said(rows, train_on="last_turn")


@fault(
    "Texts without an end",
    where=Where.START,
    how=How.PREVENTED,
    says="every text ends with the end of text",
    harm="plain texts joined without an end-of-text token teach a model that never stops",
)
def endless_texts(lab: Lab, planted: bool) -> list[str]:
    """Not planted: the file writes the end itself, and no second one is put after it."""
    end = "" if planted else "<|im_end|>"
    found = lab.read([{"text": f"The {bird} stood.{end}"} for bird in BIRDS])
    stop = found.tokenizer.token_to_id("<|im_end|>")
    assert all(one.ids[-1] == stop and one.ids.count(stop) == 1 for one in found.training)
    plain = [found.tokenizer.encode(f"The {bird} stood.{end}").ids for bird in BIRDS]
    return ["every text ends with the end of text"] if any(stop not in ids for ids in plain) else list(found.remarks)


@fault(
    "Bytes that changed after the upload",
    where=Where.START,
    how=How.STOPPED,
    says="invalid_training_file",
    harm="the run learns from another file than the one that was checked",
)
def changed_bytes(lab: Lab, planted: bool) -> list[str]:
    jobdir = lab.job()
    if planted:
        with (jobdir.inputs / "train" / "files" / "0").open("ab") as file:
            file.write(b"\n")
    return refusal_of(lambda: Source(jobdir.inputs / "train").verify(Code.INVALID_TRAINING_FILE) or [])  # type: ignore


def _with_long_answers(limit: int | None) -> list[dict[str, Any]]:
    """Half of the answers are long; a limit cuts them there."""
    words = LONG.replace(",", "").rstrip(".").split()
    long = [" ".join(Random(number).sample(words, len(words))) + "." for number in range(len(BIRDS))]
    return [row(f"What of the {bird}?", one[:limit]) for bird, one in zip(BIRDS, long, strict=True)] + sound_rows(20)
