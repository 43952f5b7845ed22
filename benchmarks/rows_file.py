"""A generated alpaca file for benchmarks of the data gate: a million rows of about 490 bytes by default.

    python -m benchmarks.rows_file FILE [--rows 1000000]

The same number of rows gives the same bytes. Of a thousand rows about ten repeat an earlier one exactly, twenty differ
from an earlier one in three words, and one holds an e-mail address. Words are drawn by Zipf's law, as real ones are.
"""

import argparse
import json
import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TextIO

VOCABULARY = 20_000
WORDS = 70  # a row, which makes about 490 bytes
REMEMBERED = 1000  # earlier rows that may come again
SEED = 3407
_SYLLABLES = [first + last for first in "bdfgklmnprstvz" for last in ("a", "e", "i", "o", "u", "ai", "en", "or", "un")]


def write_rows(file: TextIO, rows: int) -> None:
    for row in alpaca_rows(rows):
        file.write(json.dumps(row) + "\n")


def alpaca_rows(rows: int) -> Iterator[dict[str, str]]:
    draw = random.Random(SEED)
    vocabulary = list({"".join(draw.choices(_SYLLABLES, k=draw.choice((1, 2, 2, 3)))): None for _ in range(VOCABULARY)})
    weights = list(accumulate(1 / (place + 10) for place in range(len(vocabulary))))
    earlier: list[list[str]] = []
    for number in range(rows):
        luck = draw.random()
        if earlier and luck < 0.03:
            words = list(draw.choice(earlier))
            if luck > 0.01:
                for place in draw.sample(range(len(words)), 3):
                    words[place] = draw.choice(vocabulary)
        else:
            words = draw.choices(vocabulary, cum_weights=weights, k=WORDS)
            if luck > 0.999:
                words[-1] = f"{words[-1]}{number}@example.org"
            if len(earlier) < REMEMBERED:
                earlier.append(words)
            else:
                earlier[draw.randrange(REMEMBERED)] = words
        yield {"instruction": " ".join(words[:14]) + "?", "input": "", "output": " ".join(words[14:]) + "."}


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("file", type=Path)
    told.add_argument("--rows", type=int, default=1_000_000)
    wish = told.parse_args()
    with wish.file.open("w", encoding="utf-8") as file:
        write_rows(file, wish.rows)
    print(f"{wish.rows:,} rows, {wish.file.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
