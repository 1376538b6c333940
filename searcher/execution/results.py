"""The file of a trial's result: written in one step, read back by a driver that starts again."""

import json
from pathlib import Path

from searcher.config.recipe import Recipe
from searcher.execution.layout import RESULT
from searcher.execution.messages import Done, Job
from searcher.files import in_one_step


def stored_outcome(folder: Path, recipe: Recipe) -> Done | None:
    """A trial's outcome from before its driver died, where it got that far with this recipe."""
    try:
        stored = json.loads((folder / RESULT).read_text())
    except FileNotFoundError:
        return None
    if stored["recipe"] != recipe.digest():
        return None
    spent = stored.get("cpu_seconds", 0.0)
    return Done(stored["metrics"], stored["seconds"], spent, stored.get("measured", {}))


def save(done: Done, job: Job) -> None:
    """Write the result in one step, so that a trial killed meanwhile leaves none."""
    result = {
        "recipe": job.recipe.digest(),
        "seconds": done.seconds,
        "cpu_seconds": done.cpu_seconds,
        "metrics": done.metrics,
    }
    if done.measured:
        result["measured"] = done.measured
    with in_one_step(job.folder / RESULT) as part:
        part.write_text(json.dumps(result, indent=1))
