"""Commands on studies that can be run: `run`, `check` and `ls`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    Force,
    Overrides,
    RunsDir,
    StudyName,
    StudyOption,
    chosen,
    refuse_foreign,
    stopped_by_ctrl_c,
    the_study,
    write_csv,
)

LOADING = "loading …"
"""Shown on a terminal while torch and the study's parts are loaded, which takes seconds."""

if TYPE_CHECKING:
    from rich.console import Console

    from searcher.config.study import Study
    from searcher.searching.state import State


def run(
    study: StudyName = None,
    option: StudyOption = None,
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
    """Search: run a study's trials. Ctrl-C stops; the same command goes on from there.

    With --cluster each trial is a job, which goes on after Ctrl-C, and is found again by the same command.

    Exit status 1 where not one trial is complete, 2 for bad input, 130 after Ctrl-C.
    """
    from rich.console import Console

    from searcher.ui.terminal.search import watched

    console = Console(soft_wrap=not sys.stdout.isatty())
    asked = Asked(cluster, slurm_partition, slurm_account, slurm_constraint, gpus, time, mem)
    changes = [*(override or []), *asked.overrides(trials_per_gpu)]
    with console.status(LOADING):
        searched = chosen(the_study(study, option), changes)
        launcher = launched([searched], cluster, workers, console)
    with stopped_by_ctrl_c(goes_on(launcher, searched.name, runs_dir)):
        state = watched(searched, runs_dir, launcher, console, storage)
    _tell(searched, state, runs_dir, console)
    if not state.complete:
        raise typer.Exit(1)


def _tell(study: "Study", state: "State", runs_dir: Path, console: "Console") -> None:
    # Not before: a driver does without plotly.
    from searcher.ui.dashboard.publish import publish
    from searcher.ui.terminal import trials

    console.print(trials.front_table(study, state.front))
    if lacking := publish(runs_dir, study.stored_name):
        console.print(lacking, highlight=False)
    counts = ", ".join(f"{count} {name}" for count, name in state.counts)
    text = f"{counts}: {study.stored_name} in {runs_dir}"
    console.print(text, highlight=False)


def sweep(
    stage: Annotated[
        list[str],
        typer.Option(
            metavar="STAGE.PARAMETER=VALUES", help="e.g. prune.sparsity=0,0.02,...,0.5; may repeat."
        ),
    ],
    study: StudyName = None,
    option: StudyOption = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Begin with this recipe file, not with the space's first known one.")
    ] = None,
    override: Overrides = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV.")] = None,
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """One recipe with several values of a stage's parameter, and the table of what comes out."""
    from rich.console import Console

    from searcher.config import recipe_file
    from searcher.searching import sweep as sweeping
    from searcher.ui.terminal import sweep as sweep_table

    console = Console(soft_wrap=not sys.stdout.isatty())
    with console.status(LOADING):
        searched = chosen(the_study(study, option), override)
    settings = [sweeping.parse(text) for text in stage]
    first = recipe_file.load(recipe).recipe if recipe else sweeping.base(searched)
    wanted = sweeping.recipes(first, settings)

    view = sweep_table.SweepView(console, Console(stderr=True), searched)

    if csv:
        refuse_foreign(csv, sweep_table.is_table, "such a table", force=force)
    with stopped_by_ctrl_c("the same command goes on; what is done is kept"), view:
        rows = sweeping.sweep(searched, wanted, runs_dir, view)
    console.print(sweep_table.table(rows, searched, settings))
    if csv:
        write_csv(sweep_table.frame(rows, searched), csv, force=True)


def check(
    study: StudyName = None,
    option: StudyOption = None,
    override: Overrides = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Check a study without running it: its keys, task, space and metrics; of data of your own, a picture."""
    from searcher.searching.check import check_parts, describe
    from searcher.searching.data import save_sheet

    checked = chosen(the_study(study, option), override)
    for line in describe(checked, check_parts(checked)):
        typer.echo(line)
    if sheet := save_sheet(checked, runs_dir):
        typer.echo(f"training images after augmentation: {sheet}")
