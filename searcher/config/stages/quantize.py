"""int8 after training."""

from typing import ClassVar, Literal

from pydantic import Field

from searcher.config.stages.base import LAST, Stage


class Quantize(Stage):
    """int8 post-training static quantization."""

    kind: Literal["quantize"] = "quantize"
    rank: ClassVar[int | None] = LAST
    exclude: dict[str, Literal[16, 32]] = Field(
        default_factory=dict, description="modules that are kept out, and the bits in which each runs"
    )
    calibration_images: int = Field(
        default=512, ge=1, description="training images by which the scales are set"
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        kept = [
            f"{' '.join(names)} in {bits} bits"
            for bits in (16, 32)
            if (names := [name for name, width in self.exclude.items() if width == bits])
        ]
        return f"int8 but {', '.join(kept)}" if kept else "int8"
