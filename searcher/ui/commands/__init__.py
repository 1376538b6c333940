"""The commands, a file a subject. Each imports what it needs inside itself, so that `--help` stays quick."""
