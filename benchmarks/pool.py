"""Jobs of a benchmark in processes of their own, several at a time, which share the processor's cores."""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

Job = TypeVar("Job", bound=tuple[Any, ...])
Result = TypeVar("Result")


def done(function: Callable[..., Result], jobs: Sequence[Job], at_once: int) -> Iterator[tuple[Job, Result]]:
    """Each job, the arguments of a call, with its result as they end; an error of one is printed."""
    threads = max(1, (os.cpu_count() or 1) // at_once)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, context, _limit, (threads,)) as pool:
        work = {pool.submit(function, *job): job for job in jobs}
        for ended in as_completed(work):
            try:
                yield work[ended], ended.result()
            except Exception:
                print(f"{work[ended]}: {traceback.format_exc()}", flush=True)


def _limit(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
