"""The memory format in which a network is trained, and why it is not always channels_last."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.memory_format import laid_out
from searcher.compression.precision import convolutions_in_fp32
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16)
BARE = """
import torch
from torch import nn
for _ in range(5):
    layer = nn.Conv2d(6, 11, 1, stride=2).to(memory_format=torch.channels_last)
    image = torch.randn(128, 6, 8, 8).contiguous(memory_format=torch.channels_last)
    layer(image.requires_grad_()).sum().backward()
"""
TRAINED = """
from tests.test_layout import trained
for _ in range(2):
    trained()
"""


class Permuted(nn.Sequential):
    def forward(self, x):
        first, *rest = self
        x = first(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return nn.Sequential(*rest)(x)


def net(stride=2, channels=6, kernel=1, groups=1, kind=nn.Sequential):
    middle = nn.Conv2d(channels, 12, kernel, stride, groups=groups)
    return kind(nn.Conv2d(1, channels, 1), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))


def trained(model=None, compiled="off"):
    task = tasks.entry("digits").load().trained_on(256)
    run = Run(task, 1, 0, CPU, lambda *_: None, compile=compiled)
    return fit(model or net(), run, Train(batch_size=128), "train")


def formats(model):
    """Whether each convolution of a training read channels_last."""
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda m, x, _: seen.append((m, x[0], m.weight)) if m.training else None
            )
    trained(model)
    last = torch.channels_last
    middle = [(x, w) for m, x, w in seen if m is model[1]]
    return {x.is_contiguous(memory_format=last) for x, _ in middle} | {
        w.stride(1) == 1 < w.stride(3) for _, w in middle
    }


@pytest.mark.parametrize("kind", [nn.Sequential, Permuted])
@pytest.mark.parametrize(
    ("stride", "channels", "kernel", "groups"),
    [(2, 6, 1, 1), (3, 2, 1, 1), ((1, 2), 7, 1, 1), (2, 15, 1, 1), (2, 24, 1, 2)],
)
def test_a_strided_convolution_of_few_channels_trains_contiguous(kind, stride, channels, kernel, groups):
    model = net(stride, channels, kernel, groups if channels % groups == 0 else 1, kind)
    with laid_out(model, CPU):  # as an earlier training may have left it
        model.to(memory_format=torch.channels_last)
    assert formats(model) == {False}
    assert not model[1]._forward_pre_hooks


@pytest.mark.parametrize(
    ("stride", "channels", "kernel", "groups"), [(1, 6, 1, 1), (2, 6, 3, 1), (2, 16, 1, 1), (2, 32, 1, 2)]
)
def test_all_others_train_in_channels_last(stride, channels, kernel, groups):
    model = net(stride, channels, kernel, groups)
    with laid_out(model, CPU) as layout:
        assert layout is torch.channels_last
        assert all(p.is_contiguous(memory_format=layout) for p in model.parameters() if p.dim() == 4)


@pytest.mark.slow
def test_no_training_writes_outside_its_memory():
    """glibc's checks see at once what may otherwise end a trial much later."""
    checked = {"MALLOC_CHECK_": "3", "LD_PRELOAD": "libc_malloc_debug.so.0", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    environment = os.environ | checked | {"OMP_NUM_THREADS": "1"}
    ends = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, timeout=600
        ).returncode
        for code in (BARE, TRAINED)
    ]
    if ends[0] == 0:
        pytest.skip("on this machine torch does not write outside of a convolution's memory")
    assert ends[1] == 0


def gradients(model, side):
    """The weights' gradient in bf16, computed where the memory was full of NaN, and in fp32."""
    images = torch.randn(4, 32, side, side).contiguous(memory_format=torch.channels_last)
    found = []
    for bf16 in (True, False):
        waste = [torch.full((model.weight.numel(),), torch.nan, dtype=d) for d in DTYPES for _ in range(10)]
        del waste
        model.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            model(images).float().sum().backward()
        found.append(model.weight.grad)
    return found


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "groups"), [(1, 3, 2, 1), (1, 5, 2, 32), (2, 7, 3, 1), (2, 3, 2, 1)]
)
def test_gradients_of_convolutions_narrower_than_their_stride_are_written(side, kernel, stride, groups):
    model = nn.Conv2d(32, 32, kernel, stride, kernel // 2, groups=groups, bias=False)
    model.to(memory_format=torch.channels_last)
    with convolutions_in_fp32(model, CPU):
        for _ in range(20):
            ours, exact = gradients(model, side)
            assert torch.allclose(ours, exact, atol=0.1 * float(exact.abs().max()))
    assert "forward" not in vars(model)


def test_a_narrow_convolution_trains_in_fp32_and_others_as_they_did():
    model = nn.Conv2d(32, 32, 3, 2, 1)
    with convolutions_in_fp32(model, CPU), torch.autocast("cpu", torch.bfloat16):
        seen = [model(torch.randn(4, 32, side, side)).dtype for side in (1, 2)]
    assert seen == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "groups", "expected"),
    [
        (32, 3, 1, 32, torch.bfloat16),
        (32, 3, 2, 32, torch.float32),
        (32, 5, 1, 32, torch.float32),
        (64, 3, 1, 32, torch.float32),  # two outputs a group
        (32, 3, 1, 16, torch.float32),
        (32, 3, 2, 8, torch.bfloat16),
        (32, 3, 1, 1, torch.bfloat16),
    ],
)
def test_convolutions_of_few_channels_a_group_train_in_fp32_where_bf16_is_slow(
    channels: int, kernel: int, stride: int, groups: int, expected: torch.dtype
):
    model = nn.Conv2d(32, channels, kernel, stride, kernel // 2, groups=groups)
    images = torch.randn(4, 32, 8, 8, dtype=torch.bfloat16)
    with convolutions_in_fp32(model, CPU), torch.autocast("cpu", torch.bfloat16):
        assert model(images).dtype == expected
    assert "forward" not in vars(model)
