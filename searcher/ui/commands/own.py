"""A model and data of one's own, as the options of a command give them."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from searcher.errors import SearcherError

if TYPE_CHECKING:
    from searcher.config.recipe import Model
    from searcher.config.study import Study
    from searcher.tasks.entries import Entry

ModelName = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", help="A model's name, pkg.mod:function that builds it, or timm:NAME."
    ),
]
ModelArguments = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="KEY=VALUE", help="An argument of the model, e.g. growth_rate=4."),
]
DataKeys = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="data.KEY=VALUE", help="How the data is prepared, e.g. data.size=64."),
]
TASK = "A path, a task's name, or pkg.mod:function."


def given_model(name: str, arguments: Sequence[str] | None, weights: Path | None = None) -> "Model":
    """The model of that name with its arguments, ``KEY=VALUE`` each.

    Raises:
        SearcherError: An argument is of another form.
    """
    from searcher.config.recipe import Model
    from searcher.config.toml import pairs

    return Model(name=name, args=pairs("--arg", arguments or ()), weights=str(weights) if weights else None)


def given_data(task: str, keys: Sequence[str] | None) -> "Entry":
    """The task of that name, its data prepared as the keys of `[data]` say.

    Raises:
        SearcherError: There is no such task or key, or its data is not here.
    """
    from searcher import tasks
    from searcher.config.data import Data
    from searcher.config.toml import pairs, validated

    content: dict[str, Any] = {}
    for key, value in pairs("--set", keys or ()).items():
        table, *path = key.split(".")
        if table != "data" or not path:
            raise SearcherError(f"--set {key}: expected a key of data, e.g. data.size=64")
        inner = reduce(lambda found, part: found.setdefault(part, {}), path[:-1], content)
        inner[path[-1]] = value
    data = validated(Data, content, "--set", "data") if content else None
    tasks.choose([task], lambda name: data)
    return tasks.entry(task, data)


def searched_model(study: "Study") -> "Model":
    """The model of a study, or one that its space draws.

    Raises:
        SearcherError: The space cannot be used.
    """
    from searcher.searching.loading import draw, load_space

    return study.model or load_space(study).suggest(draw(study)).model
