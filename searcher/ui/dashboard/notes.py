"""A note on a trial in Markdown: its recipe in words, its figures, and its most expensive operations."""

import re
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial

from searcher.config.study import Study
from searcher.costs.op import load_ops
from searcher.execution.layout import COST
from searcher.searching.pareto import missed
from searcher.searching.records import TrialRecord
from searcher.ui.terminal.costs import heaviest
from searcher.ui.terminal.trials import state, words
from searcher.wording import number

HEAVIEST = 10
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def note(study: Study, trial: FrozenTrial, folder: Path) -> str:
    """The note of a trial that ended, from what is stored and from what its folder holds."""
    # Line by line: the dashboard does not wrap long ones.
    recipe = [f"- {_plain(part)}" for part in words(trial).split("; ")]
    parts = ["\n".join(recipe), _standing(study, trial)]
    record = TrialRecord.of(trial)
    if record.metrics:
        figures = [(m.key, number(record.metrics[m.key])) for m in study.measured()]
        figures += [] if record.seconds is None else [("seconds", f"{record.seconds:.1f}")]
        parts.append(_table([("figure", "value"), *figures]))
    cost = folder / COST
    if cost.is_file():
        parts += [f"The {HEAVIEST} operations with the most MACs, and the sum of all:"]
        parts += [_table(heaviest(load_ops(cost), HEAVIEST))]
    return "\n\n".join(parts) + "\n"


def _standing(study: Study, trial: FrozenTrial) -> str:
    if not TrialRecord.of(trial).metrics:
        return f"Trial {trial.number}: {state(trial)}."
    if not study.constraints:
        return f"Trial {trial.number}: complete."
    broken = missed(study, trial)
    verdict = f"misses {broken}" if broken else f"satisfies {', '.join(map(str, study.constraints))}"
    return f"Trial {trial.number}: complete, {_plain(verdict)}."


def _table(rows: Sequence[Sequence[str]]) -> str:
    names, *rest = [[_plain(cell) for cell in row] for row in rows]
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", text)
