"""Cross-layer equalization and bias correction: the outputs and the means that they leave."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from searcher import tasks
from searcher.compression.engines import fx
from searcher.compression.engines.equalizing import equalize
from searcher.compression.engines.folding import fold_norms
from searcher.compression.engines.fx_bias import corrected, means
from searcher.compression.engines.fx_reference import decomposed
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.training import Run
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.costs.counting.executed import walk
from tests.helpers.networks import images, net


class Chain(nn.Module):
    """Three convolutions in a row, the second depthwise, whose channels have very different ranges."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.b, self.c = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
        with torch.no_grad():
            self.norm.weight.copy_(torch.logspace(-2, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.b(torch.relu(self.norm(self.a(x)))))
        return self.c(x).mean((2, 3))


class Shuffled(nn.Module):
    """Channels that change places between two convolutions, in no operation that is counted."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        return self.b(self.a(x).view(n, 2, 4, h, w).transpose(1, 2).reshape(n, 8, h, w))


def channels(weight: Tensor) -> Tensor:
    return weight.detach().flatten(1).abs().amax(1)


def equalized(model: nn.Module) -> list[tuple[str, str]]:
    return equalize(model, fold_norms(model, images(1)), images())


def test_equalized_ranges_are_equal_and_the_outputs_stay() -> None:
    model = Chain().eval()
    wanted = model(images()).detach()
    assert equalized(model) == [("a", "b"), ("b", "c")]
    assert (model(images()) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    between = channels(model.b.weight), channels(model.c.weight.transpose(0, 1))
    assert torch.allclose(*between, rtol=1e-4)
    assert torch.allclose(channels(model.a.weight), between[0], rtol=0.05)


@pytest.mark.parametrize(("name", "pairs"), [("resnet20", 9), ("mobilenet_v2", 2), ("densenet", 0)])
def test_shipped_families(name: str, pairs: int) -> None:
    model = net(name)
    wanted = model(images()).detach()
    found = equalized(model)
    assert len(found) >= pairs
    assert all(not one.startswith("bn") for pair in found for one in pair)
    assert (model(images()) - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_channels_that_change_places_are_left_alone() -> None:
    model = Shuffled().eval()
    before = copy.deepcopy(model.state_dict())
    assert equalized(model) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("asked", [Quantize(), Quantize(weight_bits=3), Quantize(weights_per="tensor")])
def test_corrected_biases_leave_no_mean_error(asked: Quantize) -> None:
    model = net("resnet20")
    prepared = fx.prepare(model, [images(32)], {}, asked)
    wanted = means(copy.deepcopy(prepared.graph), images(32))
    before, after = (
        means(decomposed(one), images(32)) for one in (prepared, corrected(prepared, images(32)))
    )

    def error(found: dict[str, Tensor]) -> float:
        return max(float((found[path] - mean).abs().max()) for path, mean in wanted.items())

    assert len(wanted) == 20
    assert error(after) < error(before) / 10


def test_executed_predicted_and_counted_with_both() -> None:
    stage = Quantize(weight_bits=4, equalize=True, bias_correction=True, calibration_images=64)
    recipe = Recipe(model=Model(name="resnet20"), stages=(stage,))
    run: Any = Run(tasks.entry("digits").load().trained_on(300), 1, 0, torch.device("cpu"), lambda *_: None)
    network = run_recipe(recipe, run)
    predicted = predict(recipe, run.task.image, run.task.classes).ops
    assert predicted
    reconcile(predicted, walk(network.architecture, network.executed, run.task.example()), recipe)
