"""int8 post-training quantization with exclusions."""

import torch
from torch import Tensor, nn

from searcher.compression.engines import fx
from searcher.compression.engines.exclusions import check_exclusions, check_widths
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.engines.fx_widths import quantized
from searcher.compression.network import Network
from searcher.compression.outlined import NotCertain, Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run
from searcher.config.recipe import Quantize
from searcher.config.stages.int8 import Int8
from searcher.tasks.base import Task


class QuantizeRunner(Runner[Quantize]):
    """Calibrates and converts to int8."""

    stored = False

    def run(self, model: nn.Module, stage: Quantize, run: Run) -> Network:
        """Calibrate and convert; the exclusions are verified."""
        run.report("quantize", 0, 1, float("nan"))
        prepared = prepare(model, stage, run)
        return Network(model, fx.convert(model, prepared), prepared)

    def predict(self, outlined: Outlined, stage: Quantize) -> None:
        """Tell the width of every row."""
        predict(outlined, stage)


def predict(outlined: Outlined, stage: Int8) -> None:
    """Tell the width of every row after a stage that quantizes."""
    check_exclusions(outlined.model, stage.exclude)
    check_widths(outlined.model, stage.bits, stage.exclude)
    if outlined.reason:
        raise NotCertain(outlined.reason)
    outline = outlined.outline
    outlined.ops = quantized(
        outlined.modules, outlined.ops, outline.called, stage.exclude, stage, outline.returned
    )


def prepare(model: nn.Module, stage: Int8, run: Run) -> Prepared:
    """Calibrate on images without augmentation."""
    return fx.prepare(model, calibration(stage, run.task), dict(stage.exclude), stage)


def calibration(stage: Int8, task: Task) -> list[Tensor]:
    """The images that a stage calibrates on, normalised, in batches."""
    split = task.train if stage.calibration_split == "train" else task.validation
    share = stage.calibration_share
    count = stage.calibration_images if share is None else max(1, round(share * len(split)))
    return [task.normalise(batch) for batch in torch.split(split.images[:count], 128)]
