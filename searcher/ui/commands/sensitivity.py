"""The command that tells how much each block of a network bears: `sensitivity`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searcher.errors import SearcherError, TrialError
from searcher.ui.commands.options import (
    RUNS,
    AsJson,
    Force,
    RunsDir,
    chosen,
    print_json,
    refuse_foreign,
    stopped_by_ctrl_c,
    write_csv,
)
from searcher.ui.commands.own import TASK, ModelArguments, given_data, given_model

if TYPE_CHECKING:
    from searcher.compression.training import Run
    from searcher.config.recipe import Recipe
    from searcher.tasks.base import Task


def sensitivity(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A study (its model, else its reference), an exported recipe's file; with --data a model's "
            "name, or pkg.mod:function.",
        ),
    ],
    data: Annotated[str | None, typer.Option(metavar="TASK", help=f"{TASK} Of a model.")] = None,
    arguments: ModelArguments = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="The weights of a model.")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study; of a model, of data."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="TECHNIQUE", help="Try this one alone; may repeat.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help=r"Of the validation split.  \[default: all]")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write a page with a heat map.")
    ] = None,
    as_json: AsJson = False,
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """What each block of a network bears: quality after it alone is quantized, pruned or factorized.

    Nothing is finetuned. The least harmful comes first. What was measured is kept, and not measured again.
    """
    from rich.console import Console

    from searcher.errors import unknown
    from searcher.searching.sensitivity import measure
    from searcher.searching.techniques import TECHNIQUES
    from searcher.ui.html import page, sensitivity_page
    from searcher.ui.terminal import sensitivity as terminal

    _refuse_model_options(data, arguments, weights)
    for name in only or ():
        if name not in TECHNIQUES:
            raise unknown("technique", name, TECHNIQUES)
    if output:
        refuse_foreign(output, page.is_page, "a page of searcher's", force=force)
    console = Console(stderr=as_json)
    kept = "the same command goes on; what was measured is kept"
    with stopped_by_ctrl_c(kept), console.status("loading …") as status:

        def step(name: str, done: int = 0, count: int = 0) -> None:
            status.update(f"{name} {done:,}/{count:,} …" if count else f"{name} …")

        recipe, run = (
            _of_model(target, data, arguments, weights, override, runs_dir)
            if data
            else _of_file(target, override, runs_dir)
        )
        try:
            found = measure(recipe, run, runs_dir.absolute(), only or tuple(TECHNIQUES), images, step)
        except TrialError as error:
            raise SearcherError(f"{recipe.words()}: {error}") from error
    if as_json:
        rows = terminal.rows(found)
        print_json({"title": found.title, "figure": found.figure, "quality": found.quality, "rows": rows})
    else:
        console.print(terminal.table(found))
        console.print(terminal.lead(found), highlight=False)
        for line in terminal.refused(found):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    if csv:
        write_csv(terminal.frame(found), csv, force=force)
    if output:
        page.write(output, sensitivity_page.sensitivity_page(found))


def _refuse_model_options(data: str | None, arguments: list[str] | None, weights: Path | None) -> None:
    if data is None and (arguments or weights):
        option = "--arg" if arguments else "--weights"
        raise SearcherError(
            f"{option}: a study or a recipe says it of its model; --data TASK measures a model"
        )


def _of_model(
    name: str,
    data: str,
    arguments: list[str] | None,
    weights: Path | None,
    keys: list[str] | None,
    runs_dir: Path,
) -> "tuple[Recipe, Run]":
    """A model as it came, on a task."""
    from searcher.config.recipe import Recipe

    model = given_model(name, arguments, weights)
    if weights and not weights.is_file():
        raise SearcherError(f"no file {weights}")
    return Recipe(model=model, stages=()), _run(given_data(data, keys).load(), 1, 0, runs_dir)


def _of_file(target: str, override: list[str] | None, runs_dir: Path) -> "tuple[Recipe, Run]":
    """An exported recipe on its task, or a study's model as it came."""
    from searcher import tasks
    from searcher.config import recipe_file
    from searcher.config.recipe import Recipe
    from searcher.deploy.retrain import load_task

    if (
        target.endswith(".toml")
        and Path(target).is_file()
        and recipe_file.is_recipe(Path(target).read_bytes())
    ):
        if override:
            raise SearcherError("--set: a recipe's file says all that its training depends on")
        file = recipe_file.load(Path(target))
        origin = file.provenance
        return file.recipe, _run(load_task(file), origin.epochs, origin.seed, runs_dir)
    study = chosen(target, override)
    model = study.model or study.reference
    if model is None:
        raise SearcherError(
            f"study {study.name} has no model of its own and names no reference: name a recipe's file, or a "
            "model and --data TASK"
        )
    return Recipe(model=model, stages=()), _run(
        tasks.of(study).load().trained_on(study.budget.train_images),
        study.budget.epochs,
        study.seed,
        runs_dir,
    )


def _run(task: "Task", epochs: int, seed: int, runs_dir: Path) -> "Run":
    from searcher.compression.store import Store
    from searcher.compression.training import Run
    from searcher.deploy.retrain import device_at_hand
    from searcher.execution.layout import STORE

    store = Store(runs_dir.absolute() / STORE)
    return Run(task, epochs, seed, device_at_hand(), lambda *_: None, store=store)
