"""`search`: a study of a network on some data, drafted and run as the commands do."""

import copy
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from torch import nn

from searcher import tasks
from searcher.api.data import task_name
from searcher.api.front import Front
from searcher.compression.build import check_outputs
from searcher.config import budget as budgets
from searcher.config.draft import SIZE, Draft
from searcher.config.model import Model
from searcher.config.study import parse
from searcher.errors import SearcherError, first_line
from searcher.execution.layout import GIVEN
from searcher.searching.given import keep_model, keep_task
from searcher.searching.storage import studies
from searcher.tasks.base import Task
from searcher.tasks.entries import Entry
from searcher.tasks.function import checked
from searcher.ui.commands.launching import launched
from searcher.ui.terminal.search import watched

Given = nn.Module | Callable[..., nn.Module] | Model | str
"""A model as a caller gives it."""


def search(
    model: Given,
    data: Task | Path | str,
    *,
    budget: str | Sequence[str] = (),
    cost: str = SIZE,
    trials: int = 30,
    epochs: int = 10,
    seed: int = 0,
    workers: int | None = None,
    runs: Path | str = "runs",
    name: str | None = None,
) -> Front:
    """Search compression recipes of a model: the front of quality against cost, within budgets.

    It is the search of `searcher run`, over the space `module`. The same call goes on where it was stopped,
    also by Ctrl-C, and with more `trials` further than it was; ``searcher show NAME`` and ``searcher report
    NAME`` read what is stored. Trials are processes of their own. A network, a builder or a task that these
    could not import, of a notebook or of a script, is kept in ``RUNS/given``.

    Args:
        model: A network, whose weights the search begins with: it as it came is trial 0, it stays as it is.
            To train from the beginning, a function that builds one, which is told by the task what it takes
            of `num_classes` and `in_chans`; or what a study takes: ``"pkg.mod:function"``, ``"timm:NAME"``, a
            family's name, or a `searcher.recipe.Model`.
        data: A task; its name, as a study has it; or the path of data of one's own (`docs/data.md`).
        budget: What must be satisfied, a line each: ``"size_mb <= 2"``; relative to the model as it came,
            ``"macs <= 0.5x"``; as a drop from it, ``"top1 >= -0.01"``.
        cost: The metric to be minimized, against the task's quality.
        trials: How many; those that are stored count.
        epochs: Of a training at share 1.
        seed: Of the search and of the trainings.
        workers: Trials at a time; by default as for `searcher run`.
        runs: The runs folder.
        name: The study's; that of the model's class or function by default.

    Returns:
        The front, sorted by cost.

    Raises:
        SearcherError: Something given cannot be used, before anything trains; or what is stored under the
            name is another study, e.g. of a network with other weights.
        KeyboardInterrupt: After Ctrl-C; what is stored stays.
    """
    runs = Path(runs)
    # A notebook says that it is a terminal with colours, which is true of what it shows of errors.
    terminal = sys.stdout.isatty()
    console = Console(soft_wrap=not terminal, force_terminal=terminal, force_jupyter=False)
    task, entry = _data(data, runs / GIVEN)
    kept = _model(model, entry, runs / GIVEN, console)
    lines = [budget] if isinstance(budget, str) else budget
    draft = Draft(
        _name(name or _usual_name(model)),
        kept,
        task,
        entry.kind.metrics[0],
        [budgets.constraint(line) for line in lines],
        cost,
        trials,
        epochs,
        seed,
    )
    study = parse(draft.name, draft.text())
    watched(study, runs, launched([study], None, workers, console), console)
    return Front(runs, *studies.load(runs, study.stored_name))


def _data(data: Task | Path | str, folder: Path) -> tuple[str, Entry]:
    """What a study calls the data, and what is known of it."""
    name = keep_task(checked(data, data.name), folder) if isinstance(data, Task) else task_name(data)
    tasks.choose([name])
    return name, tasks.entry(name)


def _model(model: Given, entry: Entry, folder: Path, console: Console) -> Model:
    if isinstance(model, Model | str):
        return Model(name=model) if isinstance(model, str) else model
    if not isinstance(model, nn.Module):
        if not callable(model):
            raise SearcherError(f"model: expected a network, a function or a name, got {model!r:.50}")
        return keep_model(model, folder)
    name = type(model).__name__
    try:
        network = copy.deepcopy(model).cpu()
    except Exception as error:  # whatever a module's own code raises
        raise SearcherError(f"model {name} cannot be copied: {first_line(error)}") from error
    check_outputs(name, network, entry.kind, entry.image, entry.classes)
    if _never_trained(network):
        console.print(
            f"warning: {name} has never been trained (its batch norms have seen no batch), and the search "
            "begins with its weights as they are: give a function that builds it to train from the beginning",
            style="yellow",
        )
    return keep_model(network, folder)


def _never_trained(network: nn.Module) -> bool:
    counts = [buffer for name, buffer in network.named_buffers() if name.endswith("num_batches_tracked")]
    return bool(counts) and not any(map(bool, counts))


def _usual_name(model: Given) -> str:
    if isinstance(model, Model | str):
        text = model if isinstance(model, str) else model.name
        return re.split(r"[:/]", text)[-1]
    return getattr(model, "__name__", type(model).__name__)


def _name(name: str) -> str:
    found = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")
    if found != name and not name.startswith("<lambda>"):
        raise SearcherError(f"name {name!r}: expected letters, digits, dots, - and _")
    return found
