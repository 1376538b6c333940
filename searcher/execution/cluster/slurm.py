"""Slurm's own commands: which jobs it knows by name, which are over and why."""

import re
import shutil
import subprocess
from collections.abc import Sequence

from searcher.errors import SearcherError, exit_reason
from searcher.execution.cluster.base import End, Unreachable

COMMAND_TIMEOUT_S = 15
"""Seconds that a command may take: the driver waits for it."""
GRACE_AFTER_FAILURE_S, GRACE_AFTER_SUCCESS_S = 5.0, 120.0
"""Seconds after a job's end in which what another host wrote may still come. An NFS client may keep what it
knows of a folder for a minute."""
PASSING = ("timed out", "unable to contact", "temporarily", "try again", "submitjoblimit", "submit limit")
"""Errors of sbatch that are about itself or a limit, and not about what was asked for."""
_SQUEUE = ("squeue", "--noheader", "--states=all", "--me")
_RUNNING = {
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "REQUEUED",
    "RESIZING",
    "SUSPENDED",
    "STAGE_OUT",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "SIGNALING",
    "SPECIAL_EXIT",
    "STOPPED",
    "RESV_DEL_HOLD",
}


def check() -> None:
    """Raise a SearcherError where Slurm's commands are not here."""
    missing = [name for name in ("sbatch", "squeue", "scancel", "srun") if not shutil.which(name)]
    if missing:
        raise SearcherError(
            f"--cluster slurm: no {', '.join(missing)} on this machine; run it where jobs are submitted, "
            "or try --cluster local"
        )


def named(name: str) -> str | None:
    """The id of the job of a name, of this user's; the controller forgets a job minutes after its end.

    Raises:
        Unreachable: squeue does not answer.
    """
    ids = _ask([*_SQUEUE, f"--name={name}", "--format=%A"]).split()
    return ids[-1] if ids else None


def ended(ids: Sequence[str]) -> tuple[dict[str, End], str]:
    """Why jobs are over, of those that are, and what is wrong with accounting, if anything.

    squeue says which jobs are not over; of the others sacct knows why, and its exit code.

    Raises:
        Unreachable: squeue does not answer.
    """
    rows = _rows(_ask([*_SQUEUE, "--format=%A|%T"]), 2)
    queued = {job: (state, "") for job, state in rows}
    over = {i: queued.get(i, ("UNKNOWN", "")) for i in ids}
    over = {i: state for i, state in over.items() if state[0] not in _RUNNING}
    if not over:
        return {}, ""
    complaint = ""
    try:
        told = _accounted(list(over))
        over |= {i: state for i, state in told.items() if state[0].split()[0] not in _RUNNING}
    except Unreachable as error:
        complaint = str(error)
    return {i: _end(*state) for i, state in over.items()}, complaint


def _accounted(ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    asked = ["sacct", "-X", "-n", "-P", "-o", "JobIDRaw,State,ExitCode", f"--jobs={','.join(ids)}"]
    return {job: (state, code) for job, state, code in _rows(_ask(asked), 3)}


def cancel(ids: Sequence[str]) -> None:
    """End jobs; those that are over already do not matter.

    Raises:
        Unreachable: Slurm does not answer.
    """
    _ask(["scancel", "--quiet", *ids])


def _rows(text: str, columns: int) -> list[list[str]]:
    rows = [line.split("|") for line in text.splitlines()]
    return [row for row in rows if len(row) == columns]


def _ask(command: Sequence[str]) -> str:
    try:
        # In a session of its own, which Ctrl-C does not reach.
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
    except OSError as error:
        raise Unreachable(f"{command[0]} cannot be called: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {COMMAND_TIMEOUT_S} s") from None
    if answer.returncode:
        said = (answer.stderr.strip() or f"exit status {answer.returncode}").splitlines()[-1]
        raise Unreachable(f"{command[0]} cannot be reached: {said}")
    return answer.stdout


def _end(state: str, code: str) -> End:
    match state.split():
        case ["PREEMPTED", *_]:
            return End("preempted", counts=False)
        case ["TIMEOUT" | "DEADLINE", *_]:
            return End("timed out: it took longer than its cluster.time")
        case ["OUT_OF_MEMORY", *_]:
            return End("out of memory: it took more than its cluster.mem")
        case ["CANCELLED", "by", user, *_]:
            return End(f"cancelled by user {user}")
        case ["NODE_FAIL" | "BOOT_FAIL", *_]:
            return End("its node failed")
        case ["FAILED", *_]:
            return End(_exit(code) if code else "its job failed")
        case ["COMPLETED", *_]:
            return End("its job has ended without a result", well=True)
        case ["UNKNOWN", *_]:
            return End("Slurm does not know its job any more")
    return End(f"its job is {state.lower()}, without a result")


def _exit(code: str) -> str:
    """The meaning of an exit code as sacct gives it, ``status:signal``."""
    match = re.fullmatch(r"(\d+):(\d+)", code)
    status, number = (int(match[1]), int(match[2])) if match else (1, 0)
    if 9 in (number, status) or status == 137:
        return "killed by SIGKILL (out of memory?)"
    if number:
        return f"killed by signal {number}"
    return exit_reason(status)
