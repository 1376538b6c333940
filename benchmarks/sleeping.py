"""A study whose trials sleep instead of training: what is left is what the product adds to a trial."""

import json
import os
import random
import time
from pathlib import Path

from searcher.config.study import Study, StudyFile
from searcher.execution.curve import CURVE, read
from searcher.execution.layout import RESULT
from searcher.execution.local import Local
from searcher.execution.messages import Done, Outcome
from searcher.searching.check import check_parts
from searcher.searching.identity import identify
from searcher.searching.loop import search
from searcher.searching.state import State
from searcher.searching.storage import backends, studies
from searcher.searching.storage.trials import StoredTrials

CONTENT = Path(__file__).parent / "content"


class Clock:
    """A view that writes down when each trial was told."""

    def __init__(self) -> None:
        self.told_at: list[float] = []
        self.driver_cpu: list[float] = []
        self.numbers: list[int] = []

    def update(self, state: State) -> None:
        """Nothing is drawn."""

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """A trial ended."""
        assert isinstance(outcome, Done), outcome
        self.told_at.append(time.monotonic())
        self.driver_cpu.append(time.process_time())
        self.numbers.append(number)


def study(trials: int, seconds: float) -> Study:
    """The sleeping study, of so many trials that sleep for so long."""
    os.environ["SEARCHER_PATH"] = str(CONTENT)
    os.environ["SEARCHER_SLEEP"] = str(seconds)
    # Two trials of the same recipe would not both sleep.
    return StudyFile("sleeping", [f"budget.trials={trials}", "screening=false"]).study("digits")


def remember(asked: Study, runs: Path, count: int, stored_in: str | None = None) -> None:
    """Store so many complete trials, drawn at random, with made-up values and the attributes of real ones."""
    space = check_parts(asked)
    backends.make_runs(runs)
    backends.choose(runs, stored_in)
    stored = studies.create_or_load(runs, asked, identify(asked))
    stored.set_user_attr("warm_start", [])
    (runs / asked.stored_name).mkdir()
    drawn = asked.model_copy(update={"sampler": asked.sampler.model_copy(update={"name": "random"})})
    trials = StoredTrials(drawn, stored)
    numbers = random.Random(0)
    for _ in range(count):
        trial = trials.new({})
        recipe = space.suggest(trial)
        trials.suggested(trial, recipe)
        values = {o.key: numbers.random() for o in asked.objectives}
        trials.complete(trial, Done(values | {"slept": 0.0}, 60.0, 60.0))


def searched(asked: Study, runs: Path, workers: int) -> Clock:
    """Run the study; when each trial was told."""
    clock = Clock()
    search(asked, runs, Local(workers), clock)
    return clock


def measuring(asked: Study, runs: Path, number: int) -> float:
    """How long a trial was measured, its sleep with it, in seconds."""
    folder = runs / asked.stored_name / f"trial-{number:05}"
    begun = [p.seconds for p in read(folder / CURVE) if p.stage == "measure"]
    return float(json.loads((folder / RESULT).read_text())["seconds"]) - begun[-1]
