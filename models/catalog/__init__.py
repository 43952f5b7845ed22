"""Extension points: one file is one new method, format or source, found by import. Pure Python, no I/O."""
