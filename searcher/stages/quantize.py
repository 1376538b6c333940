"""int8 post-training quantization with exclusions."""

import torch
from torch import nn

from searcher.engines import fx
from searcher.recipe import Quantize
from searcher.stages.train import Run


def quantize(model: nn.Module, stage: Quantize, run: Run) -> nn.Module:
    """Calibrate on training images without augmentation and convert; the exclusions are verified."""
    task = run.task
    images = task.train.images[: stage.calibration_images]
    batches = [task.normalise(batch) for batch in torch.split(images, 128)]
    return fx.quantize(model, batches, dict(stage.exclude))
