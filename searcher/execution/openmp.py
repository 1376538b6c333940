"""OpenMP for trials side by side: threads that wait for others sleep instead of spinning.

Importing it does so, where nothing has loaded torch yet; the server that forks trials preloads it first.
"""

import importlib
import os

_POLICY = "OMP_WAIT_POLICY"

_is_ours = _POLICY not in os.environ
if _is_ours:
    os.environ[_POLICY] = "PASSIVE"
importlib.import_module("torch")  # whose OpenMP reads the variable when it is loaded, and never again
if _is_ours:
    del os.environ[_POLICY]  # latency is measured in a process that a trial starts, which is alone
