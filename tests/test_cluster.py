import pytest

from searcher.config.cluster import Cluster, megabytes, minutes
from searcher.execution.cluster.slurm import _end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("10:30", 11),
        ("2:00:00", 120),
        ("1-12", 36 * 60),
        ("1-0:30", 24 * 60 + 30),
        ("1-00:00:01", 24 * 60 + 1),
        (45, 45),
    ],
)
def test_a_time_as_slurm_writes_it(text: object, expected: int):
    assert minutes(text) == expected
    assert Cluster.model_validate({"time": text}).time == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("16G", 16384), ("500M", 500), ("1.5GB", 1536), ("1t", 2**20)]
)
def test_a_memory_as_slurm_writes_it(text: str, expected: int):
    assert megabytes(text) == expected


@pytest.mark.parametrize("wrong", ["soon", "1:2:3:4", "-5"])
def test_what_is_no_time_is_refused(wrong: str):
    with pytest.raises(ValueError, match="is no time"):
        minutes(wrong)


@pytest.mark.parametrize(
    ("state", "code", "reason", "counts"),
    [
        ("PREEMPTED", "0:0", "preempted", False),
        ("OUT_OF_MEMORY", "0:125", "out of memory", True),
        ("TIMEOUT", "0:0", "timed out", True),
        ("CANCELLED by 1000", "0:0", "cancelled by user 1000", True),
        ("NODE_FAIL", "0:0", "its node failed", True),
        ("FAILED", "9:0", "killed by SIGKILL (out of memory?)", True),
        ("FAILED", "28:0", "the disk is full", True),
        ("FAILED", "1:0", "ended with exit code 1", True),
        ("FAILED", "0:11", "killed by signal 11", True),
    ],
)
def test_why_a_job_is_over(state: str, code: str, reason: str, counts: bool):
    end = _end(state, code)
    assert end.reason.startswith(reason)
    assert end.counts == counts
