"""What things are: pure Python and pydantic. No I/O, no clock, no randomness but ids."""
