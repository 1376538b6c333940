"""Content by name: studies, spaces, objectives and plugins in ./, then $SEARCHER_PATH, then the shipped."""

import importlib.util
import os
import traceback
from pathlib import Path
from types import ModuleType

from searcher.errors import SearcherError, unknown

_KINDS = {
    "studies": ("study", ".toml"),
    "spaces": ("space", ".py"),
    "objectives": ("objectives file", ".py"),
    "plugins": ("plugin", ".py"),
}
_PLUGGED: set[Path] = set()


def roots() -> list[Path]:
    """The folders that may hold content, first match first."""
    package = Path(__file__).parents[1]
    shipped = package / "_builtin" if (package / "_builtin").is_dir() else package.parent
    extra = os.environ.get("SEARCHER_PATH", "")
    return [Path.cwd(), *(Path(p) for p in extra.split(os.pathsep) if p), shipped]


def files(kind: str) -> dict[str, Path]:
    """Every file of a kind (`studies`, `spaces`, `objectives` or `plugins`) by name."""
    suffix = _KINDS[kind][1]
    found: dict[str, Path] = {}
    for root in roots():
        for path in sorted((root / kind).glob(f"[!_]*{suffix}")):
            found.setdefault(path.stem, path)
    return found


def find(kind: str, name: str) -> Path:
    """The file of that name.

    Raises:
        SearcherError: No root has it.
    """
    known = files(kind)
    if name not in known:
        raise unknown(_KINDS[kind][0], name, known)
    return known[name]


def load(path: Path) -> ModuleType:
    """Run a content file and return its module; it is not entered into ``sys.modules``.

    Raises:
        SearcherError: The file does not run.
    """
    spec = importlib.util.spec_from_file_location(f"searcher_content_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise ended(path, error) from error
    except Exception as error:
        raise SearcherError(f"{path}: {type(error).__name__}: {error}") from error
    return module


def load_plugins() -> None:
    """Run every plugin once in this process: files that register stages, tasks, models and the like.

    Raises:
        SearcherError: One of them does not run.
    """
    for path in files("plugins").values():
        if path.absolute() not in _PLUGGED:
            _PLUGGED.add(path.absolute())
            load(path)


def ended(path: Path, error: SystemExit) -> SearcherError:
    """The error for content that ends Python; it names the line that does."""
    own = path.absolute()
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == own]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    return SearcherError(f"{place}: ends Python with sys.exit({error.code!r}); it may define names alone")


def shipped(kind: str) -> dict[str, Path]:
    """The files of a kind that come with searcher, by name, whether or not a user's own stand before them."""
    suffix = _KINDS[kind][1]
    return {path.stem: path for path in sorted((roots()[-1] / kind).glob(f"[!_]*{suffix}"))}
