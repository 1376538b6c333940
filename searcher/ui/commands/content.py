"""Commands on what studies are made of: `ls`, and `new`, which writes a first file of one's own."""

import ast
import keyword
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from searcher.errors import SearcherError
from searcher.ui.commands.options import RUNS, AsJson, RunsDir, print_json

if TYPE_CHECKING:
    from searcher.tasks import Entry

What = Literal["studies", "spaces", "models", "metrics", "tasks", "stages"]

TEMPLATES = Path(__file__).parents[1] / "new"

FOLDERS = {"space": "spaces", "metric": "objectives", "task": "plugins"}
"""The folder of each kind of file."""

TRIED = {
    "space": "searcher check micronet --set task=digits --set space={name}",
    "metric": "searcher check micronet --set task=digits --set 'metrics=[{{metric=\"{name}\"}}]'",
    "task": "searcher check micronet --set task={name}",
}
"""A command that tries each kind of file."""


def ls(
    what: Annotated[What | None, typer.Argument(help="All of a kind, a line each.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Studies that can be run, and stored ones; or all spaces, models, metrics, tasks or stages."""
    from rich.console import Console

    from searcher.ui.terminal import trials

    if what not in (None, "studies"):
        assert what is not None
        lines = LISTS[what]()
        if as_json:
            print_json(lines)
        else:
            Console().print(trials.lines_table(what, lines))
        return
    from searcher.config import catalog
    from searcher.searching.storage.studies import load, stored_names

    files = catalog.files("studies")
    stored = [load(runs_dir, name) for name in stored_names(runs_dir)]
    if as_json:
        known = {name: str(path) for name, path in sorted(files.items())}
        print_json({"studies": known, "stored": trials.stored_records(stored)})
        return
    console = Console()
    console.print(trials.catalog_table(files))
    if stored:
        console.print(trials.stored_table(stored))


def new(
    kind: Annotated[Literal["space", "metric", "task"], typer.Argument(help="The kind of file.")],
    name: Annotated[str, typer.Argument(help="Its name, which is that of a Python function.")],
) -> None:
    """Write a file of one's own that runs as it is: a space, a metric or a task."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise SearcherError(f"{name!r} is no name of a Python function: letters, digits and _ alone")
    known = LISTS[_plural(kind)]()
    if name in known:
        raise SearcherError(f"there is a {kind} {name} already: {known[name]}")
    path = Path(FOLDERS[kind]) / f"{name}.py"
    if path.exists():
        raise SearcherError(f"{path} is there already")
    text = (TEMPLATES / f"{kind}.py.txt").read_text(encoding="utf-8").replace("NAME", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    typer.echo(f"{path}; try it: {TRIED[kind].format(name=name)}")


def _plural(kind: str) -> str:
    return f"{kind}s"


def _spaces() -> dict[str, str]:
    from searcher.config import catalog

    return {name: _described(path) for name, path in catalog.files("spaces").items()}


def _described(path: Path) -> str:
    """The first line of a file's docstring, without running the file."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError) as error:
        return f"cannot be read: {error}"
    return _first(text) or str(path)


def _models() -> dict[str, str]:
    from searcher.models import MODELS

    return _documented(MODELS) | {"pkg.mod:function": "A function of your own that returns a module."}


def _metrics() -> dict[str, str]:
    from searcher import tasks
    from searcher.execution.metrics import metric_functions

    labels = {name: figure.label for kind in tasks.kinds() for name, figure in kind.labels.items()}
    functions = metric_functions()
    said = _documented(functions)
    return {name: f"{_capital(labels[name])}." if name in labels else said[name] for name in functions}


def _tasks() -> dict[str, str]:
    from searcher import tasks

    return {name: _about(tasks.entry(name)) for name in tasks.TASKS}


def _about(entry: "Entry") -> str:
    sizes = "×".join(map(str, entry.image))
    here = "" if entry.available() else f"; not on this machine: {entry.how}"
    classes = f"{entry.classes:,} class" + ("es" if entry.classes != 1 else "")
    return f"{entry.kind.__name__}, {classes}, images of {sizes}{here}"


def _stages() -> dict[str, str]:
    from searcher.config.recipe import STAGES

    return _documented(STAGES)


def _documented(things: Mapping[str, object]) -> dict[str, str]:
    return {name: _first(thing.__doc__) for name, thing in things.items()}


def _first(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "spaces": _spaces,
    "models": _models,
    "metrics": _metrics,
    "tasks": _tasks,
    "stages": _stages,
}
