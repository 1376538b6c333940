"""OpenMP for trials side by side: threads that wait for others soon sleep instead of spinning.

Importing it sets so, where nothing has loaded torch yet; the server that forks trials preloads it first.
"""

import importlib
import os

_SPINS = "GOMP_SPINCOUNT"
_CHOICES = (_SPINS, "OMP_WAIT_POLICY")

ROUNDS = "10000"
"""Rounds of waiting before a thread sleeps. On two cores an epoch of a small network takes 0.57 s with it,
0.56 s with libgomp's own number, and 1.5 s where threads sleep at once."""

_is_ours = not any(name in os.environ for name in _CHOICES)
if _is_ours:
    os.environ[_SPINS] = ROUNDS
importlib.import_module("torch")  # whose OpenMP reads the variable when it is loaded, and never again
if _is_ours:
    del os.environ[_SPINS]  # latency is measured in a process that a trial starts, which is alone
