"""Stage 2 of the data gate: rows that repeat others, and rows that seem to hold personal data. All of it warns."""
