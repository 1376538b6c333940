"""Counts, figures and durations in words."""


def several(count: int, name: str) -> str:
    """A count with its noun: ``1 trial``, ``3 trials``, ``2 studies``."""
    if count == 1:
        return f"1 {name}"
    return f"{count} {name[:-1]}ies" if name.endswith("y") else f"{count} {name}s"


def number(value: float) -> str:
    """A figure with as many digits as a reader needs: 0.0167, 0.9004, 70,922."""
    if value and abs(value) < 0.1:
        return f"{value:.5f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"


def spread(value: float, off: float) -> str:
    """How far off a figure may be, or is over the seeds, with as many decimals as the figure itself has."""
    places = len(number(value).partition(".")[2])
    return f"{off:,.{places}f}"


def duration(seconds: float | None) -> str:
    """Seconds as a reader wants them: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
