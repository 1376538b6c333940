"""Options of the commands that start trials: workers, launcher, storage."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from searcher.errors import SearcherError
from searcher.execution.cluster.engines import ENGINES, backend
from searcher.ui.commands.options import in_runs

if TYPE_CHECKING:
    from rich.console import Console

    from searcher.config.study import Study
    from searcher.execution.launcher import Launcher

Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=r"Trials at a time; jobs with --cluster.  \[default: one a core, at most 4; with GPUs "
        "--trials-per-gpu on each; 1 with timed metrics; cluster.jobs]",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="sqlite|journal|URL",
        help="Where trials are stored: SQLite on a local disk, a journal file on a shared one, or "
        "postgresql://USER@HOST/DATABASE; the runs folder keeps its first.  "
        r"\[default: journal with --cluster or on a shared file system]",
    ),
]
_PANEL = "On a cluster"
OnCluster = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_PANEL,
        metavar="|".join(ENGINES),
        help="Each trial a job: of Slurm; of this machine, to try it; or in the driver, to debug one.",
    ),
]
Partition = Annotated[str | None, typer.Option(rich_help_panel=_PANEL, help="Slurm's partition.")]
Account = Annotated[str | None, typer.Option(rich_help_panel=_PANEL, help="Whom Slurm charges.")]
NodeFeatures = Annotated[
    str | None, typer.Option(rich_help_panel=_PANEL, help="Features that a node must have, e.g. a100.")
]
Gpus = Annotated[int | None, typer.Option(rich_help_panel=_PANEL, min=0, help="GPUs a job.")]
TrialsPerGpu = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Small trials that share a GPU, here or in a job.  "
        r"\[default: here 8 with NVIDIA's MPS, 2 without, at most one a core; in a job 1]",
    ),
]
TimeLimit = Annotated[
    str | None, typer.Option(rich_help_panel=_PANEL, metavar="TIME", help="A job's limit, e.g. 2:00:00.")
]
Memory = Annotated[
    str | None, typer.Option(rich_help_panel=_PANEL, metavar="SIZE", help="Memory a job, e.g. 16G.")
]


@dataclass(frozen=True)
class Asked:
    """The options of a cluster that the command line gave."""

    cluster: str | None
    partition: str | None
    account: str | None
    constraint: str | None
    gpus: int | None
    time: str | None
    mem: str | None

    def overrides(self, trials_per_gpu: int | None) -> list[str]:
        """The same as changes of the study's `[cluster]`.

        Raises:
            SearcherError: Something was asked of a cluster, and none was named.
        """
        wanted: dict[str, Any] = {
            "partition": self.partition,
            "account": self.account,
            "constraint": self.constraint,
            "gpus": self.gpus,
            "time": int(self.time) if self.time and re.fullmatch(r"[0-9]{1,9}", self.time) else self.time,
            "mem": self.mem,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        if given and not self.cluster:
            raise SearcherError(f"asked of a job: {', '.join(given)}; add --cluster slurm")
        if trials_per_gpu:
            given["trials_per_gpu"] = trials_per_gpu
        return [f"cluster.{key}={json.dumps(value)}" for key, value in given.items()]


def launched(
    studies: Sequence["Study"], cluster: str | None, workers: int | None, console: "Console"
) -> "Launcher":
    """The launcher that the options ask for.

    Raises:
        SearcherError: There is no Slurm here.
    """
    from searcher.execution.launcher import default_workers
    from searcher.execution.local import Local
    from searcher.execution.metrics import timed

    jobs_of = backend(cluster) if cluster else None
    alone = [study for study in studies if timed(study.measured())]
    shared = [study.stored_name for study in alone if (study.cluster.trials_per_gpu or 1) > 1]
    if shared:
        raise SearcherError(f"{', '.join(shared)}: trials that are timed cannot share a GPU (trials_per_gpu)")

    def say(line: str) -> None:
        console.print(line, style="yellow", highlight=False)

    if not cluster or not jobs_of:
        with_mps, without = (
            workers or min(default_workers(study, use_mps=use_mps) for study in studies)
            for use_mps in (True, False)
        )
        return Local(with_mps, say, without_mps=without)
    # Not before: a search on this machine does without submitit.
    from searcher.execution.cluster.launcher import ClusterLauncher

    jobs = workers or (1 if alone and jobs_of.host_bound else max(s.cluster.jobs for s in studies))
    return ClusterLauncher(cluster, jobs, min(study.cluster.poll for study in studies), say)


def goes_on(launcher: "Launcher", name: str, runs_dir: Path) -> str:
    """The message after Ctrl-C."""
    there = in_runs(runs_dir)
    if launcher.outlive:
        return (
            "its jobs go on, the same command finds them; "
            f"searcher status{there}, searcher cancel {name}{there}"
        )
    return f"the same command goes on; searcher show {name}{there} has the table"
