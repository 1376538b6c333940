"""Sums of the largest products, as the int8 kernels of this machine compute them."""

import os
import platform
import subprocess
import sys

import pytest

from searcher.compression.engines import kernels

PROGRAM = """
import warnings
warnings.simplefilter("ignore")
from searcher.compression.engines import kernels
cases = [(layer, weight) for layer in ("conv2d", "linear") for weight in (127, kernels.LARGEST_NARROW_CODE)]
used = kernels.use()
print(used.sum_bits, used.largest_weight, *(kernels.sum_of_largest(*case) for case in cases))
"""


def test_the_largest_codes_are_added_exactly():
    used = kernels.use()
    for layer in ("conv2d", "linear"):
        assert kernels.sum_of_largest(layer, used.largest_weight) == 1
        assert kernels.sum_of_largest(layer, kernels.LARGEST_NARROW_CODE) == 1
        assert (kernels.sum_of_largest(layer) == 1) is (used.sum_bits == 32)
    assert 2 * kernels.LARGEST_INPUT * kernels.LARGEST_NARROW_CODE < 2**15
    assert str(used) == f"onednn, {used.instructions}, {used.sum_bits}-bit sums"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN's AVX2 kernels are of x86")
def test_a_processor_without_vnni_is_told_by_its_sum():
    known = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=known, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    bits, largest, *shares = ran.stdout.split()
    assert (bits, largest) == ("16", "64")
    # 0.505 of the exact sum, in a code of 255.
    assert [float(share) for share in shares] == pytest.approx([129 / 255, 1, 129 / 255, 1])
