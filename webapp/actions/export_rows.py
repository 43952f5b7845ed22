"""What leaves of a version: its usable rows as messages, byte for byte the same each time, and a list of its problems.

Both are streamed from the prepared rows; nothing is held in memory but a piece.
"""

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

from models.catalog.containers import ENDINGS
from models.catalog.home import home_row, line_of
from models.catalog.prepared import Prepared
from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.errors import Conflict
from webapp.actions.upload_file import File
from webapp.deps import Deps

PIECE_BYTES = 1 << 16
FORMULA_SIGNS = ("=", "+", "-", "@")  # what makes a spreadsheet run a cell, also behind white space


def export_messages(deps: Deps, principal: Principal, file_id: str) -> tuple[File, Iterator[bytes]]:
    """The usable rows in order, one JSON object a line: OpenAI's messages, `text`, or TRL's answers to compare.

    Raises NotFound, or Conflict while there are no prepared rows, before the first byte.
    """
    file, prepared, opened = _open(deps, principal, file_id)
    return file, _pieces((line_of(home_row(example)) for _, example in prepared.examples()), opened)


def export_problems(deps: Deps, principal: Principal, file_id: str) -> tuple[File, Iterator[bytes]]:
    """Every row that cannot be used, as a table: row, kind, field, found, needed. Raises as `export_messages`."""
    file, prepared, opened = _open(deps, principal, file_id)
    heading = _line("row", "problem", "field", "found", "needed")
    rows = prepared.columns("number", "problem", "field", "found", "needed")
    lines = (_line(*("" if cell is None else str(cell) for cell in row)) for row in rows if row[1] is not None)
    return file, _pieces(chain([heading], lines), opened)


def stem_of(file: File) -> str:
    """The name without its container: rows.csv.gz is rows."""
    ending = max((one for one in ENDINGS if file.filename.lower().endswith(one)), key=len, default="")
    return file.filename[: -len(ending)] if ending else file.filename


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    is_harmless = not text.lstrip().startswith(FORMULA_SIGNS) and text[:1] not in ("\t", "\r", "\n")
    return text if is_harmless else f"'{text}"


def _open(deps: Deps, principal: Principal, file_id: str) -> tuple[File, Prepared, ExitStack]:
    with deps.database.read() as session:
        file = TeamStore(session, principal).file(file_id)
    if file.rows_sha256 is None:
        raise Conflict(f"The rows of {file.filename} are not prepared yet. Try again when its check has ended.")
    with ExitStack() as opening:
        prepared = Prepared(opening.enter_context(deps.storage.open(file.scope, file.rows_sha256)))
        return file, prepared, opening.pop_all()


def _pieces(lines: Iterator[bytes], opened: ExitStack) -> Iterator[bytes]:
    with opened:
        waiting: list[bytes] = []
        size = 0
        for line in lines:
            waiting.append(line)
            size += len(line)
            if size >= PIECE_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
        yield b"".join(waiting)


def _line(*cells: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow([safe_cell(cell) for cell in cells])
    return out.getvalue().encode()
