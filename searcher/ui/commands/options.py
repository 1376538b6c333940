"""Options that several commands share, and their use."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searcher.errors import Cancelled, SearcherError

if TYPE_CHECKING:
    import optuna
    from pandas import DataFrame

    from searcher.config.study import Study

RUNS = Path("runs")

RunsDir = Annotated[Path, typer.Option(help="Where everything is stored.", show_default=True)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study, e.g. budget.trials=20."),
]
StudyName = Annotated[
    str | None, typer.Argument(metavar="STUDY", help="A study's name, or a path to its TOML file.")
]
StudyOption = Annotated[str | None, typer.Option("--study", metavar="STUDY", help="The same as STUDY.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in the place of tables.")]
Force = Annotated[
    bool, typer.Option("--force", help="Write also over what no command of searcher's has written.")
]
StoredStudy = Annotated[str | None, typer.Argument(metavar="STUDY", help="A stored study's name.")]


def the_study(study: str | None, option: str | None) -> str:
    """The study that is named by the argument or by the option.

    Raises:
        SearcherError: Both name one, or neither does.
    """
    if study and option and study != option:
        raise SearcherError(f"two studies are named: {study}, and {option} by --study")
    if found := study or option:
        return found
    raise SearcherError("name a study; searcher ls has those that can be run, and those that are stored")


def in_runs(runs_dir: Path) -> str:
    """The options with which a command finds the same runs folder, for a hint."""
    return "" if runs_dir == RUNS else f" --runs-dir {shlex.quote(str(runs_dir))}"


def print_json(content: object) -> None:
    """Print JSON; what is no number is null."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def chosen(study: str, overrides: list[str] | None) -> "Study":
    """The study on the first of its tasks whose data is here; says what was passed over.

    Raises:
        SearcherError: There is no such study, or a key is wrong, or no task has its data here.
    """
    from searcher import tasks
    from searcher.config.study import StudyFile

    file = StudyFile(study, overrides or [])
    task, passed_over = tasks.choose(file.tasks, lambda name: file.study(name).data)
    if passed_over:
        typer.echo(passed_over)
    return file.study(task)


def stored_name(runs_dir: Path, study: str) -> str:
    """The name by which a study is stored; says which one was taken where several could be meant.

    Raises:
        SearcherError: None could.
    """
    from searcher.searching.storage import studies

    name, hint = studies.resolve(runs_dir, study)
    if hint:
        typer.echo(hint, err=True)
    return name


def load(runs_dir: Path, study: str) -> tuple["optuna.Study", "Study"]:
    """The trials of a stored study, and the study.

    Raises:
        SearcherError: It is not stored.
    """
    from searcher.searching.storage import studies

    return studies.load(runs_dir, stored_name(runs_dir, study))


def write_csv(frame: "DataFrame", path: Path, *, force: bool) -> None:
    """Write a table; over an older one of the same kind, by its first columns.

    Raises:
        SearcherError: The path cannot be written, or has another file.
    """
    head = ",".join(map(str, frame.columns[:2]))
    refuse_foreign(path, lambda content: content.startswith(head.encode()), "such a table", force=force)
    try:
        frame.to_csv(path, index=False)
    except OSError as error:
        raise SearcherError(f"{path} cannot be written: {error.strerror or error}") from error


def refuse_foreign(path: Path, is_ours: Callable[[bytes], bool], kind: str, *, force: bool) -> None:
    """Refuse to write over a file that is not ours; an empty one, and what is no file, has nothing to lose.

    Args:
        path: The file to be written.
        is_ours: Whether this is the content of a file that the same command would have written.
        kind: What such a file is called.
        force: Whether it is written in any case.

    Raises:
        SearcherError: It is another file, or cannot be read.
    """
    if force or not path.is_file():
        return
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SearcherError(f"{path} cannot be written: {error.strerror or error}") from error
    if content and not is_ours(content):
        raise SearcherError(f"{path} is there already and is not {kind}: take another path, or --force")


@contextmanager
def stopped_by_ctrl_c(goes_on: str) -> Iterator[None]:
    """Within it Ctrl-C is no accident: says how it goes on; exit status 130."""
    try:
        yield
    except Cancelled:
        typer.echo("cancelled; the same command begins again where it was")
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        typer.echo(f"stopped: {goes_on}")
        raise typer.Exit(130) from None
