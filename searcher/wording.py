"""How a number of things is said."""


def several(count: int, name: str) -> str:
    """A count with its noun: ``1 trial``, ``3 trials``, ``2 studies``."""
    if count == 1:
        return f"1 {name}"
    return f"{count} {name[:-1]}ies" if name.endswith("y") else f"{count} {name}s"
