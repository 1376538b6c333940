"""What a recipe will cost, before anything is trained."""

from dataclasses import replace
from functools import lru_cache

import torch
from torch import nn

from searcher.compression.engines.channel_pruning import check_removed
from searcher.compression.engines.exclusions import check_exclusions
from searcher.compression.engines.fx_widths import quantized
from searcher.config.recipe import PruneChannels, PruneWeights, Quantize, Recipe
from searcher.costs.arithmetic import Sizes
from searcher.costs.counting.recorder import record
from searcher.costs.op import Op, Prediction
from searcher.costs.shapes.channels import Channels
from searcher.costs.shapes.outline import Outline, outline
from searcher.errors import SearcherError
from searcher.models import build

PRUNED = ("Conv2d", "Linear")
"""The types of module in which `PruneWeights` zeroes weights."""


def predict(recipe: Recipe, image: Sizes, classes: int) -> Prediction:
    """The operations of the finished model, from shapes alone.

    Dense and structurally pruned networks are predicted to the unit. Of a sparse network the zeros are
    known in all, by layer where every layer has the same share.

    Args:
        recipe: What will be built, pruned and quantized.
        image: Channels, height and width of one image.
        classes: Number of outputs.

    Raises:
        TrialError: Too few of the channels could be removed.
        SearcherError: The model cannot be built, does not run on such an image, or has no module of a name
            that is kept out of int8.
    """
    floating = tuple(stage for stage in recipe.stages if not isinstance(stage, Quantize))
    text = recipe.model_copy(update={"stages": floating}).model_dump_json()
    try:
        return _floating(text, tuple(image), classes).predicted(recipe)
    except _NotCertain as error:
        if isinstance(error, _NotRun):
            _check_runs(recipe, (1, *image), classes)
        return Prediction(None, str(error))


@lru_cache(maxsize=8)
def _floating(text: str, image: Sizes, classes: int) -> "_Recipe":
    """A recipe in floating point: what is asked for next is often the same network, quantized otherwise."""
    recipe = Recipe.model_validate_json(text)
    with torch.device("meta"):
        model = build(recipe.model.name, recipe.model.args, in_channels=image[0], classes=classes)
    return _Recipe(model, (1, *image), recipe)


class _NotCertain(Exception):
    """Why a prediction might be wrong."""


class _NotRun(_NotCertain):
    """Why a network cannot be run without values; perhaps it cannot be run at all."""


class _Recipe:
    """A model on the meta device, and its rows after the stages that leave it in floating point."""

    def __init__(self, model: nn.Module, sizes: Sizes, floating: Recipe) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.sizes = sizes
        self.kept: dict[int, int] = {}
        self.reason = ""
        self.outline = self._outline()
        self.ops = self.outline.ops
        for stage in floating.stages:
            if isinstance(stage, PruneChannels):
                self._prune(stage)
            elif isinstance(stage, PruneWeights):
                layers = {name for name, m in self.modules.items() if type(m).__name__ in PRUNED}
                self.ops = [_sparse(op, stage) if op.name in layers else op for op in self.ops]

    def predicted(self, recipe: Recipe) -> Prediction:
        """The rows after all stages."""
        ops = self.ops
        for stage in recipe.stages:
            if isinstance(stage, Quantize):
                ops = self._quantized(ops, stage)
        return Prediction(ops, self.reason)

    def _outline(self) -> Outline:
        if any(isinstance(module, nn.RNNBase) for module in self.modules.values()):
            raise _NotRun("a recurrent layer runs other operators on the meta device")
        try:
            return outline(self.model, self.sizes)
        except Exception as error:
            self.reason = f"its forward does not take shapes for tensors: {_line(error)}"
        try:
            ops = record(self.model, torch.empty(self.sizes, device="meta"))
        except Exception as error:
            raise _NotRun(f"its forward does not run without values: {_line(error)}") from error
        return Outline(ops, Channels(lost=self.reason), {})

    def _prune(self, stage: PruneChannels) -> None:
        lost = self.outline.channels.lost
        if lost:
            raise _NotCertain(self.reason or f"its channels cannot be followed with certainty: {lost}")
        before = self._width()
        self.kept |= self.outline.channels.after(stage.ratio)
        try:
            self.outline = outline(self.model, self.sizes, self.kept)
        except Exception as error:
            raise _NotCertain(f"its forward does not run with fewer channels: {_line(error)}") from error
        self.ops = self.outline.ops
        check_removed(stage.engine, 1 - self._width() / max(before, 1), stage.ratio)

    def _quantized(self, ops: list[Op], stage: Quantize) -> list[Op]:
        check_exclusions(self.model, stage.exclude)
        if self.reason:
            raise _NotCertain(self.reason)
        return quantized(self.modules, ops, self.outline.called, stage.exclude)

    def _width(self) -> int:
        """The output channels of all convolutions but those returned, also of those that are not executed."""
        executed = {op.name: op.output[1] for op in self.ops if op.kind == "conv"}
        kept = self.outline.returned
        convolutions = ((n, m) for n, m in self.modules.items() if isinstance(m, nn.Conv2d) and n not in kept)
        return sum(executed.get(name, module.out_channels) for name, module in convolutions)


def _check_runs(recipe: Recipe, sizes: Sizes, classes: int) -> None:
    """Tell a network that cannot be followed from one that cannot be run.

    Raises:
        SearcherError: It cannot; says what torch says.
    """
    model = recipe.model
    with torch.random.fork_rng(devices=[]):
        network = build(model.name, model.args, in_channels=sizes[1], classes=classes)
        try:
            record(network, torch.zeros(sizes))
        except Exception as error:
            text = ",".join(map(str, sizes))
            raise SearcherError(f"{model.name} does not run on an input of {text}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _sparse(op: Op, stage: PruneWeights) -> Op:
    zeros = op.weights * stage.sparsity
    nonzero = op.weights - (int(zeros) if stage.scope == "local" else zeros)
    return replace(op, nonzero=nonzero, density=nonzero / op.weights if op.weights else 1 - stage.sparsity)
