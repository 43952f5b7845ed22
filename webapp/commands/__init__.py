"""The commands of `tuneroom`, a file a noun. What a command needs is imported inside it: `--help` must be quick."""
