"""Commands from the front to a file that ships: `export`, `retrain` and `verify`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from searcher.ui.commands.options import (
    RUNS,
    Force,
    RunsDir,
    StoredStudy,
    StudyOption,
    load,
    refuse_foreign,
    stopped_by_ctrl_c,
    the_study,
)


def export(
    study: StoredStudy = None,
    option: StudyOption = None,
    pick: Annotated[
        str, typer.Option(help='best, knee, a trial\'s number, or a condition such as "top1>=0.90".')
    ] = "best",
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe file.")] = Path("best.toml"),
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Write one trial's recipe to a file that retrains without the study."""
    from rich.console import Console

    from searcher.config import recipe_file
    from searcher.deploy.export import export as make_file
    from searcher.deploy.pick import pick as choose
    from searcher.deploy.pick import unsatisfied
    from searcher.searching.records import TrialRecord
    from searcher.searching.storage import studies
    from searcher.ui.terminal.trials import complete_trials, words

    with Console().status("loading …"):
        stored, searched = load(runs_dir, the_study(study, option))
    refuse_foreign(output, recipe_file.is_recipe, "a recipe file", force=force)
    trial = choose(searched, complete_trials(stored), pick)
    make_file(searched, trial, studies.kept_identity(runs_dir, stored)["data fingerprint"]).save(output)
    metrics = TrialRecord.of(trial).metrics
    figures = ", ".join(f"{o.key} {metrics[o.key]:.5g}" for o in searched.objectives)
    typer.echo(f"trial {trial.number}: {words(trial)}")
    if lacking := unsatisfied(searched, trial):
        typer.echo(lacking)
    typer.echo(f"{figures}: {output}; searcher retrain {output} trains it again")


def retrain(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, from searcher export.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings; the first seed is the file's.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the file's budget.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=r"The folder.  \[default: the file's name]")
    ] = None,
    force: Force = False,
) -> None:
    """Train a recipe file's recipe again and write the model that deploys; Ctrl-C stops, again goes on.

    Exit status 3 where a figure is further from the expected one than its tolerance, or an ONNX file does not
    compute what the network does.
    """
    from rich.console import Console

    from searcher.config import recipe_file
    from searcher.deploy import folder as delivery_folder
    from searcher.deploy.package import finished, retrain_into
    from searcher.ui.html import model_card
    from searcher.ui.terminal import retrained
    from searcher.ui.terminal.training import TrainingView

    console = Console(soft_wrap=not sys.stdout.isatty())
    file, folder = recipe_file.load(recipe), output or recipe.with_suffix("")
    if delivery := finished(file, folder, seeds, epochs):
        console.print(f"{folder} holds this retraining already", highlight=False)
    else:
        if not force:
            delivery_folder.refuse_foreign(folder)
        with stopped_by_ctrl_c("the same command goes on from the last epoch"), TrainingView(console) as view:
            delivery = retrain_into(file, folder, seeds, epochs, view, model_card.describe)
    for title, rows in retrained.sections(delivery.result, delivery.onnx):
        console.print(retrained.table(title, rows))
    console.print(f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}", highlight=False)
    for name in delivery.disagreeing:
        share = delivery.onnx[name].equal_share
        console.print(
            f"{name} does not compute what the network does: {share:.2%} of its predictions are equal"
        )
    if delivery.disagreeing or not delivery.result.met:
        raise typer.Exit(3)


def verify(
    study: StoredStudy = None,
    option: StudyOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each point.")] = 3,
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings at a time.")] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Train the front again with other seeds, read the test split, and say which points were luck."""
    from rich.console import Console

    from searcher.execution.launcher import default_workers
    from searcher.searching.pareto import front
    from searcher.searching.verify import verify as again
    from searcher.ui.terminal import trials
    from searcher.ui.terminal.verified import VerifiedTable, VerifyView

    stored, searched = load(runs_dir, the_study(study, option))
    points, count = front(searched, trials.complete_trials(stored)), workers or default_workers(searched)
    console = Console(soft_wrap=not sys.stdout.isatty())
    with stopped_by_ctrl_c("the same command goes on from there"), VerifyView(console) as view:
        verified = again(searched, points, runs_dir / searched.stored_name, seeds, count, view)
    console.print(VerifiedTable(searched, verified))
