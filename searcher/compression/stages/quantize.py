"""int8 post-training quantization with exclusions."""

import torch
from torch import nn

from searcher.compression.engines import fx
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.training import Run
from searcher.config.recipe import Quantize


def prepare(model: nn.Module, stage: Quantize, run: Run) -> Prepared:
    """Calibrate on training images without augmentation."""
    task = run.task
    images = task.train.images[: stage.calibration_images]
    batches = [task.normalise(batch) for batch in torch.split(images, 128)]
    return fx.prepare(model, batches, dict(stage.exclude))


def quantize(model: nn.Module, stage: Quantize, run: Run) -> nn.Module:
    """Calibrate and convert; the exclusions are verified."""
    return fx.convert(model, prepare(model, stage, run))
