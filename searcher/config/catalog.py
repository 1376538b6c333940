"""Content by name: studies, spaces, objectives and plugins in ./, then $SEARCHER_PATH, then the shipped."""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from searcher.config.toml import raised
from searcher.errors import SearcherError, unknown

_KINDS = {
    "studies": ("study", ".toml"),
    "spaces": ("space", ".py"),
    "objectives": ("objectives file", ".py"),
    "plugins": ("plugin", ".py"),
}


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


def load(path: Path, name: str | None = None) -> ModuleType:
    """Run a content file and return its module.

    Args:
        path: The file.
        name: The name under which the module is imported elsewhere, where it is.

    Raises:
        SearcherError: The file does not run.
    """
    usual = f"searcher_content_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name or usual, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if name:
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if name:
            del sys.modules[name]
        if isinstance(error, SystemExit):
            raise ended(path, error) from error
        said = raised(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise SearcherError(f"{path}: {said}") from error
    return module


def load_plugins() -> None:
    """Import every plugin once in this process: files that register stages, tasks, models and the like.

    A plugin is the module ``plugins.NAME``: spaces import from it, and a trial's process finds its classes.

    Raises:
        SearcherError: One of them does not run.
    """
    for name, path in files("plugins").items():
        root, module = str(path.parents[1].absolute()), f"plugins.{name}"
        if root not in sys.path:
            sys.path.append(root)
        loaded = getattr(sys.modules.get(module), "__file__", None)
        if loaded is None or Path(loaded).absolute() != path.absolute():
            load(path, module)


def function(name: str) -> Callable[..., Any]:
    """The function of ``pkg.mod:function``, looked for in the current folder as well.

    Raises:
        SearcherError: No such module, or no such function in it.
    """
    path, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except (Exception, SystemExit) as error:
        raise SearcherError(f"{name}: cannot import {path!r}: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        raise unknown(f"function in {path}", attribute, [n for n, v in vars(module).items() if callable(v)])
    return found  # type: ignore[no-any-return]


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
