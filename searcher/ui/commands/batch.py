"""Commands on several studies at once: `batch`, `status` and `cancel`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from searcher.errors import SearcherError
from searcher.ui.commands.launching import (
    Account,
    Asked,
    Gpus,
    Memory,
    NodeFeatures,
    OnCluster,
    Partition,
    Storage,
    TimeLimit,
    TrialsPerGpu,
    Workers,
    goes_on,
    launched,
)
from searcher.ui.commands.options import (
    RUNS,
    AsJson,
    Overrides,
    RunsDir,
    chosen,
    print_json,
    stopped_by_ctrl_c,
)
from searcher.wording import several


def batch(
    studies: Annotated[list[str], typer.Argument(help="Names of studies, or paths to their TOML files.")],
    override: Overrides = None,
    workers: Workers = None,
    storage: Storage = None,
    cluster: OnCluster = None,
    slurm_partition: Partition = None,
    slurm_account: Account = None,
    slurm_constraint: NodeFeatures = None,
    gpus: Gpus = None,
    trials_per_gpu: TrialsPerGpu = None,
    time: TimeLimit = None,
    mem: Memory = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    r"""Search several studies at once with one driver; they share the workers, a trial each in turn.

    Ctrl-C stops; the same command goes on. What jobs ask for is in each study's \[cluster].

    Exit status 1 where a study has no complete trial, 2 for bad input, 130 after Ctrl-C.
    """
    from rich.console import Console

    from searcher.searching.check import doubts
    from searcher.searching.loop import search_all
    from searcher.ui.terminal.search import BatchView

    console = Console(soft_wrap=not sys.stdout.isatty())
    asked = Asked(cluster, slurm_partition, slurm_account, slurm_constraint, gpus, time, mem)
    changes = [*(override or []), *asked.overrides(trials_per_gpu)]
    with console.status("loading …"):
        searched = [chosen(study, changes) for study in studies]
    names = [study.stored_name for study in searched]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SearcherError(f"asked for twice: {', '.join(sorted(twice))}")
    launcher = launched(searched, cluster, workers, console)
    trials = sum(study.budget.trials for study in searched)
    asked_for = f"{several(len(names), 'study')}, {several(trials, 'trial')}"
    console.print(f"{asked_for}, {launcher.workers} at a time", highlight=False)
    for line in dict.fromkeys(line for study in searched for line in doubts(study)):
        console.print(f"warning: {line}", style="yellow", highlight=False)
    with (
        stopped_by_ctrl_c(goes_on(launcher, " ".join(names), runs_dir)),
        BatchView(console) as view,
    ):
        states = search_all(searched, runs_dir, launcher, view, storage)
    _print_status(runs_dir, names)
    if not all(state.complete for state in states):
        raise typer.Exit(1)


def status(
    studies: Annotated[list[str] | None, typer.Argument(help="Stored studies; all by default.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Show the progress of stored studies: done, running, queued, failed, the front, the time left."""
    from searcher.searching.storage.studies import resolve, stored_names

    stored = stored_names(runs_dir)
    names = [resolve(runs_dir, name)[0] for name in studies] if studies else stored
    if as_json:
        _print_json(runs_dir, names)
        return
    if not names:
        typer.echo(f"nothing is stored in {runs_dir} yet")
        return
    _print_status(runs_dir, names)


def _print_status(runs_dir: Path, names: list[str]) -> None:
    from rich.console import Console

    from searcher.searching.status import status
    from searcher.ui.terminal.status import StatusTable

    Console().print(StatusTable([status(runs_dir, name) for name in names]))


def _print_json(runs_dir: Path, names: list[str]) -> None:
    from searcher.searching.status import status

    print_json([status(runs_dir, name).record for name in names])


def cancel(
    studies: Annotated[list[str] | None, typer.Argument(help="Stored studies.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are stored.")] = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """End the drivers of studies and their trials, wherever these run. searcher run goes on from there."""
    from searcher.searching.cancel import cancel
    from searcher.searching.storage.studies import resolve, stored_names

    if bool(studies) == every:
        raise SearcherError("name the studies to cancel, or say --all")
    stored = stored_names(runs_dir)
    names = [resolve(runs_dir, name)[0] for name in studies or stored]
    for name, done in cancel(runs_dir, names):
        typer.echo(f"{name}: {done}")
