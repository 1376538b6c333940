"""int8 after training."""

from typing import Literal

from searcher.config.stages.int8 import Int8


class Quantize(Int8):
    """int8 post-training static quantization; `exclude` maps a module to the width kept there, in bits."""

    kind: Literal["quantize"] = "quantize"

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"{self.codes()}{self.calibrated()}{self.kept()}"
