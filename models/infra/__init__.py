"""The seams to the outside: settings, storage, broker, streams, sweep, secrets."""
