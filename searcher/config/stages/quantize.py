"""int8 after training."""

from typing import Literal

from searcher.config.stages.base import added
from searcher.config.stages.int8 import Int8, listed


class Quantize(Int8):
    """int8 post-training static quantization."""

    kind: Literal["quantize"] = "quantize"
    equalize: bool = added(
        False, description="make the ranges of channels of layers that follow one another equal first"
    )
    bias_correction: bool = added(
        False, description="take the mean error of each layer on the calibration images out of its bias"
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        corrected = listed(
            "equalized" if self.equalize else "", "biases corrected" if self.bias_correction else ""
        )
        return f"{self.codes()}{self.calibrated()}{corrected}{self.kept()}"
