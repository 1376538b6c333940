"""A search in a process of its own: started, watched, and what it has stored."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna

from searcher.searching.storage import studies


def until(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Wait for a condition, long enough for a machine that is busy with something else."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


HELD = """
import time
from pathlib import Path

def top1(measurement):
    measured = Path({place!r}, "measured")
    with measured.open("a") as file:
        file.write(".")
        file.flush()
        place = file.tell()
    while place > {count} and Path({place!r}, "hold").exists():
        time.sleep(0.02)
    return measurement.figure("top1")

METRICS = {{"top1": top1}}
"""


def hold_after(place: Path, count: int) -> None:
    """Let so many trials end; those after them wait in their measurement while the file `hold` is there."""
    quality = place / "objectives" / "quality.py"
    quality.parent.mkdir()
    quality.write_text(HELD.format(place=str(place), count=count))
    (place / "hold").touch()


def trials(place: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials of the study `tiny`, none where it is not stored yet."""
    if "tiny@digits" not in studies.stored_names(place / "runs"):
        return []
    return studies.load(place / "runs", "tiny@digits")[0].trials


def states(place: Path) -> Counter[str]:
    return Counter(t.state.name for t in trials(place))


def outcomes(runs: Path) -> dict[int, tuple[dict[str, object], list[float]]]:
    """Parameters and values of the complete trials, by ordinal."""
    found = studies.load(runs, "tiny@digits")[0].trials
    return {t.user_attrs["ordinal"]: (t.params, t.values) for t in found if t.state.name == "COMPLETE"}


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [pid for pid, its_parent in parents.items() if its_parent == parent]


def trial_processes(driver: int) -> list[int]:
    """The driver's grandchildren: its children are the server that forks trials and Python's own helper."""
    return [pid for child in children(driver) for pid in children(child)]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()
