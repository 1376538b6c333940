"""One search of `search_efficiency`, in a process of its own: METHOD SEED TRIALS TASK.

A trial imports what the main module of its driver has imported: here that is nothing.
"""

import sys


def one(method: str, seed: int, trials: int, task: str) -> None:
    """Run one search in this process and keep what came out."""
    import json
    import os
    import tempfile
    from pathlib import Path

    import torch

    from benchmarks.search_efficiency import OURS, PEER, PLAIN, hypervolumes, place
    from benchmarks.searches import Trace, ours, plain, save
    from searcher.config.study import StudyFile

    torch.set_num_threads(1)
    # As many trials as the processor time allows: what is stopped early is a trial as well.
    count = trials if method in PLAIN else 50 * trials
    sets = [f"seed={seed}", f"budget.trials={count}", *OURS.get(method, [])]
    study = StudyFile("small", sets).study(task)
    if method in PLAIN:
        result = plain(study, method)
    else:
        known = json.loads(place("tpe", seed, task).read_text())["trace"]
        goal, seconds = hypervolumes(known)[-1][1], known[-1][0]

        def enough(trace: Trace) -> bool:
            return hypervolumes(trace)[-1][1] >= goal

        if method == PEER:
            from benchmarks.peer import Peer

            result = Peer(study).search(seconds, enough)
        else:
            with tempfile.TemporaryDirectory() as runs:
                result = ours(study, Path(runs), seconds, enough)
    save(result | {"load": os.getloadavg()[0]}, place(method, seed, task))


if __name__ == "__main__":
    one(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
