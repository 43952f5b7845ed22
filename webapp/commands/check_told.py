"""The report of `tuneroom datasets check` for people. What comes from files cannot steer the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from models.catalog.findings import Weight, words_of
from models.catalog.formats import FORMATS
from models.domain.checking import Checked, Verdict
from models.domain.preview import CheckedFinding
from models.domain.reports import FoundRow, GateReport, IntakeReport, Length, TokenReport

BARS = 12
BAR_LETTERS = 40
MARKS = {Weight.UNUSABLE: "✕", Weight.ERROR: "✕", Weight.WARNING: "▲", Weight.NOTE: "●"}
LOOKS = {Weight.UNUSABLE: "red", Weight.ERROR: "red", Weight.WARNING: "yellow", Weight.NOTE: "cyan"}
SENTENCES = {
    Verdict.CLEAN: ("Clean.", "green"),
    Verdict.PROBLEMS: ("Problems: the rows above would be left out, or should be looked at.", "yellow"),
    Verdict.UNUSABLE: ("Unusable.", "red"),
}
KINDS = {
    "conversation": "conversations",
    "text": "texts",
    "preference": "pairs of answers",
    "labelled": "judged answers",
}


def tell(checked: Checked, names: Sequence[str], console: Console | None = None) -> None:
    """Print all of it to stdout, in colours on a terminal."""
    out = console or Console(highlight=False, soft_wrap=True)
    for line in lines(checked, names):
        out.print(line)


def lines(checked: Checked, names: Sequence[str]) -> Iterator[Text]:
    yield Text(neutral(", ".join(names)), style="bold")
    if checked.intake:
        yield _rows(checked.intake)
    if checked.gate:
        yield _alike(checked.gate)
    if checked.validation:
        yield Text("Validation: ") + _rows(checked.validation)
        for found in checked.validation.problems:
            yield from _finding(
                CheckedFinding(kind=found.kind, title=words_of(found.kind).title, is_error=True, count=found.count,
                               first=found.first)
            )  # fmt: skip
    if checked.tokens:
        yield from _tokens(checked.tokens, checked.max_length or 0)
    for finding in checked.findings:
        yield from _finding(finding)
    if checked.error:
        message = checked.error["message"]
        yield Text(neutral(message[:1].upper() + message[1:]), style="red")
    sentence, look = SENTENCES[checked.verdict]
    yield Text("")
    yield Text(sentence, style=f"bold {look}")


def neutral(text: str) -> str:
    """Without letters that move a cursor, change colours, begin lines or turn the writing direction."""
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in text)


def _spelled(letter: str) -> str:
    return " " if letter.isspace() and letter not in "\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85" else ascii(letter)[1:-1]


def _rows(intake: IntakeReport) -> Text:
    bad = intake.rows - intake.usable_rows
    usable = "all usable" if not bad else f"{intake.usable_rows:,} usable, {bad:,} not"
    entry = FORMATS.get(intake.format)
    title = entry.title if entry else neutral(intake.format)
    sure = "as asked for" if intake.is_overruled else f"{intake.confidence:.0%} sure"
    kinds = ", ".join(f"{count:,} {KINDS.get(kind, kind)}" for kind, count in intake.kinds.items())
    told = f"{intake.rows:,} rows, {usable}. Read as {title}, {sure}, from {intake.container}."
    return Text(f"{told} {kinds}." if kinds else told)


def _alike(gate: GateReport) -> Text:
    told: list[str] = []
    if gate.duplicates:
        told.append(_many(gate.duplicates, "exact duplicate"))
    if gate.near_rows:
        told.append(f"{_many(gate.near_rows, 'row')} in {_many(gate.near_groups, 'group')} of nearly equal ones")
    return Text("; ".join(told) + "." if told else "No row repeats another one, exactly or nearly.")


def _tokens(tokens: TokenReport, max_length: int) -> Iterator[Text]:
    yield Text("")
    yield Text(f"Tokens with {neutral(tokens.base_name)}", style="bold")
    yield Text(f"{tokens.total_tokens:,} in {tokens.sequences:,} sequences, {tokens.trained_tokens:,} of them trained.")
    if tokens.lengths:
        parts = tokens.percentiles
        yield Text(
            f"Half have up to {parts['50']:,} tokens, 90 % up to {parts['90']:,}, 99 % up to {parts['99']:,}, the "
            f"longest {parts['100']:,}."
        )
        yield from _histogram(tokens.lengths)
        over = [each for each in tokens.lengths if each.tokens > max_length]
        out = sum(each.sequences for each in over)
        yield Text(
            f"With at most {max_length:,} tokens all sequences are used."
            if not out
            else f"With at most {max_length:,} tokens {out:,} of {tokens.sequences:,} sequences are left out, with "
            f"{sum(each.trained_tokens for each in over):,} of {tokens.trained_tokens:,} trained tokens."
        )
    for note in tokens.notes:
        yield Text(neutral(note))


def _histogram(lengths: Sequence[Length]) -> Iterator[Text]:
    step = max(1, -(-lengths[-1].tokens // BARS))
    counts = [0] * BARS
    for each in lengths:
        counts[(each.tokens - 1) // step] += each.sequences
    held = [place for place, count in enumerate(counts) if count]
    for place in range(held[0], held[-1] + 1):
        count = counts[place]
        bar = "█" * max(round(count / max(counts) * BAR_LETTERS), int(count > 0))
        yield Text(f"  {place * step + 1:>7,} - {(place + 1) * step:<7,} {bar}{' ' * (count > 0)}{count:,}")


def _finding(finding: CheckedFinding) -> Iterator[Text]:
    words = words_of(finding.kind)
    yield Text("")
    yield Text(
        f"{MARKS[words.weight]} {neutral(words.title)}: {_many(finding.count, 'row')}", style=LOOKS[words.weight]
    )
    yield Text(f"  {words.explained} {words.remedy}")
    for row in finding.first:
        yield Text(f"  {_sentence(row)}")
    if finding.count > len(finding.first) > 0:
        yield Text(f"  and {finding.count - len(finding.first):,} more")


def _sentence(row: FoundRow) -> str:
    where = f" {row.field}:" if row.field else ":"
    needed = f" (needed: {row.needed})" if row.needed else ""
    return neutral(f"row {row.row}{where} {row.found}{needed}")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
