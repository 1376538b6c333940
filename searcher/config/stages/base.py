"""A stage of a recipe, and one that trains."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from searcher.config.model import Frozen, Model

LAST = 2
"""The rank of stages after which a network is no longer in floating point."""


def added(default: Any, **limits: Any) -> Any:
    """A field that came after recipes were stored: one dumps it only where it is not at its default.

    So the digests of the recipes that did without, and all that is stored under them, stay as they were. A
    default that changes is another arithmetic: it needs a new `version` of the stage's runner.

    Args:
        default: Its value where a recipe says nothing.
        limits: As pydantic's `Field` takes them.
    """
    return Field(default=default, exclude_if=lambda value: value == default, **limits)


Optimizers = Literal["sgd", "adam", "adamw"]
Schedules = Literal["cosine", "linear", "step", "constant", "one-cycle"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Stage(Frozen):
    """One step of a recipe; its `kind` is the name under which it is registered.

    Attributes:
        rank: A recipe's stages come in the order of their ranks: 0; 1, after which nothing may fill zeros;
            `LAST` for int8. One without a rank may come anywhere before int8.
        off_at_zero: A parameter whose value 0 would leave the network as it is, in a sweep.
    """

    kind: str
    rank: ClassVar[int | None] = 0
    off_at_zero: ClassVar[str | None] = None

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return self.kind.replace("_", " ")

    def models(self) -> list[Model]:
        """Models that the stage trains beside the recipe's own."""
        return []


class Training(Stage):
    """A stage that trains.

    It spends a share of the study's epochs, so that one recipe serves a cheap search and a full retraining.
    """

    share: float = Field(
        default=1.0, ge=0, le=10, description="part of the study's epochs that the stage spends"
    )
    optimizer: Optimizers = Field(
        default="sgd", description="SGD with Nesterov momentum, Adam, or AdamW (Loshchilov & Hutter 2019)"
    )
    lr: float = Field(default=0.1, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=5e-4, ge=0, description="decay of the weights a step")
    batch_size: int = Field(default=128, ge=1, description="images a step")
    schedule: Schedules = added(
        "cosine",
        description="of the learning rate: a warm-up, then a cosine or a line to 0; a tenth after half and "
        "a hundredth after three quarters of the steps (He et al. 2016); constant; one cycle (Smith 2018)",
    )
    label_smoothing: float = added(
        0.0, ge=0, lt=1, description="share of a label that is spread over all classes (Szegedy et al. 2016)"
    )
    mixup: float = added(
        0.0,
        ge=0,
        le=1,
        description="alpha of the Beta distribution by which images are mixed (Zhang et al. 2018); 0 is off",
    )
    cutmix: float = added(
        0.0,
        ge=0,
        le=1,
        description="alpha of the Beta distribution of the area that is another image's (Yun et al. 2019); "
        "with mixup a coin is tossed for each batch",
    )
    cutout: float = added(
        0.0,
        ge=0,
        le=1,
        description="side of a box without content, as a share of the image's (DeVries & Taylor 2017)",
    )
    colour: float = added(
        0.0, ge=0, lt=1, description="how far brightness, contrast and saturation are drawn from 1"
    )
    rotation: float = added(0.0, ge=0, le=180, description="largest rotation, in degrees")
    ema: float = added(
        0.0,
        ge=0,
        lt=1,
        description="decay of a moving average of the weights, which is the network that comes out",
    )
    precision: Precision = added(
        "auto",
        description="of the passes, by `torch.amp`: bf16 where the device has it; fp32; bf16 anywhere; "
        "fp16 with scaled gradients",
    )

    def techniques(self) -> list[str]:
        """What is on, beside the usual, as a reader says it."""
        strengths = {
            "label smoothing": self.label_smoothing,
            "mixup": self.mixup,
            "cutmix": self.cutmix,
            "cutout": self.cutout,
            "colour": self.colour,
        }
        return [
            *(f"{name} {value:.2f}" for name, value in strengths.items() if value),
            *([f"rotation {self.rotation:g}°"] if self.rotation else []),
            *([f"averaged {self.ema:g}"] if self.ema else []),
            *([f"{self.schedule} schedule"] if self.schedule != "cosine" else []),
            *([self.precision] if self.precision != "auto" else []),
        ]
