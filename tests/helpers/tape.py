"""What a CUDA graph is, on the CPU: a function's operators, run again on the tensors that they ran on."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from searcher.compression.cuda_graphs import NotRecordable

WAITING = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "_unique2", "masked_select"}
"""Operators that a GPU's host would have to wait for."""


class Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.played = 0
        self._calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masked = name == "index" and any(x is not None and x.dtype == torch.bool for x in args[1])
        if name in WAITING or masked:
            raise NotRecordable(f"{name} waits for the GPU")
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self._calls.append((func, args, kwargs, out))
        return out

    @torch.no_grad()
    def play(self):
        self.played += 1
        for func, args, kwargs, out in self._calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Records on tapes; unlike a GPU's, a recording also runs once."""

    def __init__(self):
        self.tapes = []

    def record(self, function, inputs):
        tape = Tape()
        with tape:
            outputs = function(*inputs)
        self.tapes.append(tape)
        return tape.play, outputs

    @property
    def played(self):
        return [tape.played for tape in self.tapes]
