"""Data as a caller gives it, by the name that a study has for it."""

from pathlib import Path


def task_name(data: Path | str) -> str:
    """A path as a study names it; a name as it is."""
    return str(data.expanduser().absolute()) if isinstance(data, Path) else data
