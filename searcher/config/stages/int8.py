"""The common part of stages that quantize: calibration, and the codes that are executed."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from searcher.config.model import Frozen
from searcher.config.stages.base import LAST, Stage, added


class Widths(Frozen):
    """The bits of a block's weights and of the activations that it writes."""

    weights: int = Field(default=8, ge=2, le=8, description="bits of the codes of weights")
    activations: int = Field(default=8, ge=2, le=8, description="bits of the codes of activations")


class Int8(Stage):
    """A stage that quantizes."""

    rank: ClassVar[int | None] = LAST
    exclude: dict[str, Literal[16, 32]] = Field(
        default_factory=dict, description="modules that are kept out, and the bits in which each runs"
    )
    calibration_images: int = Field(
        default=512, ge=1, description="training images by which the scales are set"
    )
    calibration_share: float | None = added(
        None, gt=0, le=1, description="instead of a number of images, a share of the split"
    )
    calibration_split: Literal["train", "validation"] = added(
        "train", description="the split that they are from"
    )
    observer: Literal["minmax", "moving_average", "histogram", "percentile"] = added(
        "minmax",
        description="of the range of activations: least and largest value, their moving average, the range "
        "of least error in a histogram, or the middle `percentile` of all values",
    )
    percentile: float = added(99.99, gt=50, le=100, description="for the observer of that name, in percent")
    weights_per: Literal["channel", "tensor"] = added(
        "channel", description="whether weights have a scale a channel, or one"
    )
    weight_bits: int = added(8, ge=2, le=8, description="bits of the codes of weights")
    activation_bits: int = added(
        8,
        ge=2,
        le=8,
        description="bits of the codes of activations; the image and what the network returns keep 8",
    )
    bits: dict[str, Widths] = added({}, description="other widths of some modules, by their path")

    @model_validator(mode="after")
    def _fits(self) -> "Int8":
        self._check_calibration()
        return self

    def _check_calibration(self) -> None:
        """Refuse what calibration would not use."""
        fields = type(self).model_fields
        if self.percentile != fields["percentile"].default and self.observer != "percentile":
            raise ValueError(f"percentile: is of the observer of that name, and observer is {self.observer}")
        number = fields["calibration_images"].default
        if self.calibration_share is not None and self.calibration_images != number:
            raise ValueError("calibration_images and calibration_share: expected one of them")

    def widths(self, path: str) -> Widths:
        """Those of a module or an operation, by its path: of the innermost block around it that has any."""
        around = [block for block in self.bits if f"{path}.".startswith(f"{block}.")]
        if around:
            return self.bits[max(around, key=len)]
        return Widths(weights=self.weight_bits, activations=self.activation_bits)

    @property
    def narrow(self) -> bool:
        """Whether any codes have less than 8 bits."""
        every = [self.widths(""), *self.bits.values()]
        return any(width.weights < 8 or width.activations < 8 for width in every)

    def codes(self) -> str:
        """The widths as a reader says them: ``int8``, ``int4 weights, int8 activations``."""
        text = _codes(self.widths(""))
        blocks = [f"{path} {_codes(width)}" for path, width in self.bits.items()]
        return ", ".join([text, *blocks])

    def kept(self) -> str:
        """The modules that are kept out, as a reader says it; empty without any."""
        kept = [
            f"{' '.join(names)} in {bits} bits"
            for bits in (16, 32)
            if (names := [name for name, width in self.exclude.items() if width == bits])
        ]
        return f" but {', '.join(kept)}" if kept else ""

    def calibrated(self) -> str:
        """The calibration where it is not the default, as a reader says it; empty where it is."""
        return listed(
            self.observer if self.observer != type(self).model_fields["observer"].default else "",
            "weights a tensor" if self.weights_per == "tensor" else "",
            f"{self.calibration_share:.1%} of the images" if self.calibration_share else "",
        )


def listed(*texts: str) -> str:
    """Texts in brackets; nothing where all are empty."""
    found = ", ".join(_given(texts))
    return f" ({found})" if found else ""


def _given(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text]


def _codes(width: Widths) -> str:
    if width.weights == width.activations:
        return f"int{width.weights}"
    return f"int{width.weights} weights, int{width.activations} activations"
