"""int8 post-training quantization with exclusions."""

import torch
from torch import nn

from searcher.compression.engines import fx
from searcher.compression.engines.exclusions import check_exclusions
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.engines.fx_widths import quantized
from searcher.compression.network import Network
from searcher.compression.outlined import NotCertain, Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run
from searcher.config.recipe import Quantize


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
        check_exclusions(outlined.model, stage.exclude)
        if outlined.reason:
            raise NotCertain(outlined.reason)
        outlined.ops = quantized(outlined.modules, outlined.ops, outlined.outline.called, stage.exclude)


def prepare(model: nn.Module, stage: Quantize, run: Run) -> Prepared:
    """Calibrate on training images without augmentation."""
    task = run.task
    images = task.train.images[: stage.calibration_images]
    batches = [task.normalise(batch) for batch in torch.split(images, 128)]
    return fx.prepare(model, batches, dict(stage.exclude))
