"""The refusals of a library, each in one line that names the module."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from torch import nn

from searcher.costs.counting.scope import without_wrappers
from searcher.errors import SearcherError, TrialError


@contextmanager
def refused(engine: str, what: str) -> Iterator[None]:
    """Turn whatever a library raises into a reason for a trial to fail.

    Args:
        engine: The library, as a reader knows it.
        what: What it was to do with the network.

    Raises:
        TrialError: The library raised something; says which, what, in which module where one was running, and
            what it said.
    """
    try:
        yield
    except (SearcherError, TrialError):
        raise
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
        where = module_at(error.__traceback__)
        place = f", in {where}" if where else ""
        raise TrialError(f"{engine} cannot {what} this network: {reason}{place}") from error


def module_at(raised: TracebackType | None) -> str:
    """The innermost module that was running where an exception was raised, by its path; empty without any.

    The path begins at the outermost module whose forward was running; a module that has none there is named
    by its type.
    """
    frames = [frame for frame, _ in traceback.walk_tb(raised)]
    running = [m for frame in frames if isinstance(m := frame.f_locals.get("self"), nn.Module)]
    if not running:
        return ""
    paths = [
        path for outer in running for path, module in outer.named_modules() if module is running[-1] and path
    ]
    name, kind = without_wrappers(paths[0]) if paths else "", type(running[-1]).__name__
    return f"{name} ({kind})" if name else kind
