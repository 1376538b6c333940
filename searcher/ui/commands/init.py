"""The command that writes a study of one's own model on one's own data: `init`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searcher.errors import SearcherError
from searcher.ui.commands.options import RUNS, RunsDir, in_runs
from searcher.ui.commands.own import TASK, ModelArguments, ModelName, given_data, given_model

if TYPE_CHECKING:
    from searcher.config.draft import Draft

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def init(
    name: Annotated[str, typer.Argument(help="The name of the new study.")],
    model: ModelName,
    data: Annotated[str, typer.Option(metavar="TASK", help=TASK)],
    budget: Annotated[
        list[str] | None,
        typer.Option(help='E.g. "macs <= 0.5x" of the model as it came, "size_mb <= 2", "top1 >= -0.01".'),
    ] = None,
    arguments: ModelArguments = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights to begin with.")] = None,
    cost: Annotated[str, typer.Option(metavar="METRIC", help="What is minimized.")] = "size_mb",
    trials: Annotated[int, typer.Option(min=1, help="Of the search.")] = 30,
    epochs: Annotated[int, typer.Option(min=1, help="Of a trial.")] = 10,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Write the study of a model and data of your own, studies/NAME.toml, with comments.

    Model, data and budgets are tried before it is written.
    """
    from rich.console import Console

    from searcher.config import catalog
    from searcher.config.budget import constraint
    from searcher.config.draft import Draft

    if not _NAME.fullmatch(name):
        raise SearcherError(f"{name!r} is no name of a study: letters, digits, _, - and . alone")
    path = Path("studies") / f"{name}.toml"
    if name in (known := catalog.files("studies")):
        raise SearcherError(f"there is a study {name} already: {known[name]}")
    asked = given_model(model, arguments, weights)
    bounds = [constraint(line) for line in budget or ()]
    quality = given_data(data, ()).kind.metrics[0]
    draft = Draft(name, asked, data, quality, bounds, cost, trials, epochs)
    with Console().status("trying the model …"):
        lines = _tried(draft, runs_dir)
    path.parent.mkdir(exist_ok=True)
    path.write_text(draft.text(), encoding="utf-8")
    for line in lines:
        typer.echo(line)
    typer.echo(f"{path}; next: searcher doctor {name}, searcher run {name}{in_runs(runs_dir)}")


def _tried(draft: "Draft", runs_dir: Path) -> list[str]:
    """What was found of the study's parts, a line each.

    Raises:
        SearcherError: One of them cannot be used, or no recipe that was found satisfies the budgets.
    """
    from searcher.config.study import parse
    from searcher.execution.layout import STORE
    from searcher.searching.check import check_parts

    study = parse(draft.name, draft.text())
    space = check_parts(study, runs_dir / STORE)
    left_out = space.examined.left_out() if space.examined else ()
    return [*(f"within {bound}" for bound in study.constraints), *(f"left out, {one}" for one in left_out)]
