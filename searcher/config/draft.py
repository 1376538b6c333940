"""The study of one's own model on one's own data: the commented text of its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searcher.config.metric import Constraint, Metric, named
from searcher.config.model import Model

SIZE = "size_mb"
"""The cost where none is asked for: what a file that ships takes."""

_BESIDE = ("params", "macs", "size_mb")
"""Costs that are shown beside the objectives."""

_FILE = """\
# {title}
# Written by searcher init; every line may be changed. What comes next:
#   searcher check {name}       what was found of the data and of the model
#   searcher doctor {name}      what can be done with the model, and how long a trial takes
#   searcher run {name}         the search; after Ctrl-C the same command goes on
#   searcher show {name}        the front
#   searcher export {name} --pick best -o {name}-best.toml
#   searcher retrain {name}-best.toml    the files that ship

task = {task}
model = {model}
space = "module"         # of any model; `searcher new space NAME` writes one of your own
seed = {seed}

# Shown beside the objectives.
metrics = [{beside}]

[[objectives]]
metric = {quality}
goal = "maximize"

[[objectives]]
{cost}
goal = "minimize"        # or macs, params, latency_ms, peak_memory_mb; `searcher ls metrics` has all

{bounds}[budget]
trials = {trials}
epochs = {epochs}              # of a trial; searcher retrain --epochs trains the chosen one for longer
# train_images = 5000    # of a trial, for a quick first look

# [data]                 # how images are prepared: docs/data.md
# size = 64
# augment = {{ shift = 4, flip = false }}

# [deployment]           # where latency and memory are measured
# batch = 1
# threads = 1
"""

_NO_BOUND = """\
# [[constraints]]        # none so far; for instance, of the model as it came,
# metric = "macs"
# at_most = "0.5x"

"""


@dataclass(frozen=True)
class Draft:
    """A study of one's own model, before it is a file.

    Attributes:
        name: The study's.
        model: The model.
        task: A task's name, a path, or ``pkg.mod:function``.
        quality: The task's metric to be maximized.
        budgets: What must be satisfied.
        cost: The metric to be minimized; a score's variant follows a colon.
        trials: How many.
        epochs: Of a trial.
        seed: Of the search.
    """

    name: str
    model: Model
    task: str
    quality: str
    budgets: Sequence[Constraint] = ()
    cost: str = SIZE
    trials: int = 30
    epochs: int = 10
    seed: int = 0

    def text(self) -> str:
        """The study's file: TOML, with comments."""
        within = ", ".join(bound.name for bound in self.budgets)
        title = f"{self.name}: {self.model.words()} on {self.task}{', ' if within else ''}{within}"
        beside = [name for name in _BESIDE if name != self.cost]
        return _FILE.format(
            title="".join(one if one.isprintable() else " " for one in title),
            name=self.name,
            task=_toml(self.task),
            model=_toml(_model(self.model)),
            seed=self.seed,
            beside=", ".join(f"{{ metric = {_toml(name)} }}" for name in beside),
            quality=_toml(self.quality),
            cost="\n".join(_lines(named(self.cost))),
            bounds="".join(map(_bound, self.budgets)) or _NO_BOUND,
            trials=self.trials,
            epochs=self.epochs,
        )


def _model(model: Model) -> str | dict[str, Any]:
    given = model.model_dump(exclude_none=True, exclude_defaults=True)
    return model.name if given.keys() == {"name"} else given


def _lines(metric: Metric) -> list[str]:
    """A metric's keys, or a bound's, a line each."""
    return [f"{key} = {_toml(value)}" for key, value in metric.model_dump(exclude_none=True).items()]


def _bound(bound: Constraint) -> str:
    return "\n".join(["[[constraints]]", *_lines(bound)]) + "\n\n"


def _toml(value: Any) -> str:
    """A value in one line of TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
