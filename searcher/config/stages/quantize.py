"""int8 after training."""

from typing import Literal

from searcher.config.stages.base import added
from searcher.config.stages.int8 import Int8, listed

_OF_DYNAMIC = ("kind", "dynamic", "exclude", "weights_per")


class Quantize(Int8):
    """int8 post-training quantization, static or dynamic."""

    kind: Literal["quantize"] = "quantize"
    equalize: bool = added(
        False, description="make the ranges of channels of layers that follow one another equal first"
    )
    bias_correction: bool = added(
        False, description="take the mean error of each layer on the calibration images out of its bias"
    )
    dynamic: bool = added(
        False,
        description="scales of activations are found while the network runs, one a batch; of linear layers "
        "alone: convolutions have no kernel of that kind and stay in float32",
    )

    def _check_calibration(self) -> None:
        """Refuse what calibration, or dynamic int8, would not use."""
        if not self.dynamic:
            super()._check_calibration()
            return
        every = type(self).model_fields
        other = [
            name
            for name in every
            if getattr(self, name) != every[name].get_default(call_default_factory=True)
        ]
        static = [name for name in other if name not in _OF_DYNAMIC]
        if static:
            raise ValueError(
                "quantize: dynamic int8 calibrates nothing and has codes of 8 bits: it takes no "
                f"{', '.join(static)}"
            )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        if self.dynamic:
            return f"dynamic int8 of linear layers{self.calibrated()}{self.kept()}"
        corrected = listed(
            "equalized" if self.equalize else "", "biases corrected" if self.bias_correction else ""
        )
        return f"{self.codes()}{self.calibrated()}{corrected}{self.kept()}"
