"""What a library cannot do with a network, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from searcher.errors import SearcherError, TrialError


@contextmanager
def refused(engine: str, what: str) -> Iterator[None]:
    """Turn whatever a library raises into a reason for a trial to fail.

    Args:
        engine: The library, as a reader knows it.
        what: What it was to do with the network.

    Raises:
        TrialError: The library raised something; says which, what, and what it said.
    """
    try:
        yield
    except (SearcherError, TrialError):
        raise
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise TrialError(f"{engine} cannot {what} this network: {reason}") from error
