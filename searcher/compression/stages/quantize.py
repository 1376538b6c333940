"""int8 post-training quantization with exclusions."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from searcher.compression.engines import dynamic, fx
from searcher.compression.engines.equalizing import equalize
from searcher.compression.engines.exclusions import check_exclusions, check_widths
from searcher.compression.engines.folding import fold_norms
from searcher.compression.engines.fx import CHECKED_IMAGES
from searcher.compression.engines.fx_bias import corrected
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.engines.fx_widths import quantized
from searcher.compression.network import Network
from searcher.compression.outlined import NotCertain, Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run
from searcher.config.recipe import Quantize
from searcher.config.stages.int8 import Int8
from searcher.tasks.base import Task
from searcher.wording import several


class QuantizeRunner(Runner[Quantize]):
    """Converts to int8: calibrated, or of linear layers alone with scales that are found at run time."""

    stored = False

    def run(self, model: nn.Module, stage: Quantize, run: Run) -> Network:
        """Calibrate and convert; the exclusions are verified."""
        run.report("quantize", 0, 1, float("nan"))
        if stage.dynamic:
            images = calibration(stage, run.task)[0][:CHECKED_IMAGES]
            return Network(model, *dynamic.convert(model, images, stage))
        if stage.equalize:
            _equalize(model.cpu().eval(), stage, run)
        prepared = prepare(model, stage, run, stage.exclude)
        if stage.bias_correction:
            prepared = corrected(prepared, torch.cat(calibration(stage, run.task)))
        return Network(model, fx.convert(model, prepared), prepared)

    def predict(self, outlined: Outlined, stage: Quantize) -> None:
        """Tell the width of every row."""
        if not stage.dynamic:
            predict(outlined, stage)
            return
        check_exclusions(outlined.model, stage.exclude)
        outlined.ops = dynamic.quantized(outlined.ops, outlined.modules, stage.exclude)


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


def _equalize(model: nn.Module, stage: Quantize, run: Run) -> None:
    """Make ranges equal where the graph allows it, and say where it does not."""
    images = calibration(stage, run.task)[0][:CHECKED_IMAGES].cpu()
    folded = fold_norms(model, images, stage.exclude)
    pairs = equalize(model, folded, images)
    layers = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    alone = [name for name in layers if not any(name in pair for pair in pairs)]
    left = f"; no range of {', '.join(alone)}" if alone else ""
    print(f"quantize: {several(len(pairs), 'pair')} of layers equalized{left}", flush=True)


def prepare(model: nn.Module, stage: Int8, run: Run, exclude: Mapping[str, int]) -> Prepared:
    """Calibrate on images without augmentation, with the given width of each module that is kept out."""
    return fx.prepare(model, calibration(stage, run.task), dict(exclude), stage)


def calibration(stage: Int8, task: Task) -> list[Tensor]:
    """The images that a stage calibrates on, normalised, in batches."""
    split = task.train if stage.calibration_split == "train" else task.validation
    share = stage.calibration_share
    count = stage.calibration_images if share is None else max(1, round(share * len(split)))
    return [task.normalise(batch) for batch in torch.split(split.images[:count], 128)]
