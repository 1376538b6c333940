"""The observer of int8 activations."""

from torch import Tensor
from torch.ao.quantization import MinMaxObserver


class ActivationObserver(MinMaxObserver):
    """The least and the largest value as uint8 codes, with an even zero point.

    Some kernels round before they add the zero point, others after. Halves become the even number: with an
    odd zero point not the same one, and the mean of four codes is often a half.
    """

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The scale, float32 (1,), and the zero point, int (1,)."""
        scale, zero_point = super().calculate_qparams()
        if int(zero_point) % 2:
            codes = self.quant_max - self.quant_min
            scale = scale * codes / (codes - 2)  # leaves room for the zero point to move
            zero_point = (2 * (-self.min_val / scale / 2).ceil()).to(zero_point)
        return scale, zero_point
