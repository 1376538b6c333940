"""How long a trial takes to start: forked from a server with torch loaded, against a fresh interpreter.

Both run the same job until its first word, the preloaded one again until its first epoch is trained.
Prints and writes `benchmarks/results/trial_start.json`; `ratio` is ours / a fresh interpreter's.
"""

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.figures import write
from searcher.config.recipe import Model, Recipe, Train
from searcher.config.study import StudyFile
from searcher.execution import local, worker
from searcher.execution.messages import Job

REPEATS = 7
RECIPE = Recipe(
    model=Model(name="densenet", args={"growth_rate": 2, "blocks": [1, 1, 1, 1]}), stages=(Train(),)
)


def job(folder: str) -> Job:
    """A small job on digits."""
    study = StudyFile("micronet", ["task=digits", "budget.epochs=1"]).study("digits")
    return Job(study, 0, RECIPE, Path(folder), threads=1)


def preloaded(folder: str) -> tuple[float, float]:
    """Seconds to the first word and to the end of the first epoch, through the launcher."""
    started = time.perf_counter()
    running = local.LocalTrial(job(folder))
    seen: list[float] = []
    while len(seen) < 2:
        local.wait_for([running], 60)
        seen += [time.perf_counter() - started for _ in running.events()]
    running.stop()
    return seen[0], seen[1]


def fresh(folder: str) -> float:
    """Seconds to the first word of a fresh interpreter."""
    context = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    ours, theirs = context.Pipe()
    process = context.Process(target=worker.main, args=(job(folder), theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv()
    seconds = time.perf_counter() - started
    process.kill()
    process.join()
    return seconds


def main() -> None:
    """Measure both by turns and write the figures."""
    local.start_server()
    with tempfile.TemporaryDirectory() as folder:
        preloaded(folder)
        pairs = [(preloaded(folder), fresh(folder)) for _ in range(REPEATS)]
    word = statistics.median(first for (first, _), _ in pairs)
    epoch = statistics.median(second for (_, second), _ in pairs)
    interpreter = statistics.median(seconds for _, seconds in pairs)
    result = {
        "first_word_s": round(word, 4),
        "first_epoch_s": round(epoch, 4),
        "fresh_interpreter_first_word_s": round(interpreter, 4),
        "ratio": round(word / interpreter, 4),
        "runs": [(round(a, 4), round(b, 4), round(c, 4)) for (a, b), c in pairs],
    }
    write("trial_start", result)


if __name__ == "__main__":
    main()
