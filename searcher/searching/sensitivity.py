"""The sensitivity of blocks: a network's quality after one alone is compressed, without finetuning."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from searcher.compression.blocks import blocks
from searcher.compression.cached import first, identity
from searcher.compression.network import Network, floating
from searcher.compression.pipeline import run_recipe
from searcher.compression.stages import stored_stages
from searcher.compression.training import Run
from searcher.config.recipe import Recipe, Training
from searcher.errors import SearcherError, TrialError, first_line
from searcher.execution.quality import read
from searcher.execution.steps import Step, counted, unsaid
from searcher.files import in_one_step, locked
from searcher.searching.techniques import TECHNIQUES

FOLDER = "sensitivity"
"""The folder of measurements, in a runs folder."""

VERSION = 1
"""Of what the techniques do: a new one measures anew."""


@dataclass(frozen=True)
class Effect:
    """The effect of one technique on the network by way of one block.

    Attributes:
        block: The block's name.
        technique: A key of `TECHNIQUES`.
        quality: After it; None where it cannot be done.
        reason: Why it cannot.
    """

    block: str
    technique: str
    quality: float | None
    reason: str = ""


@dataclass
class Sensitivity:
    """The measurements of a network so far.

    Attributes:
        title: The recipe in words, and the task.
        figure: What the quality is: the task's own figure, on its validation split.
        images: So many were looked at.
        quality: Of the network as it came.
        params: The parameters of each block, by its name, in the order of the network.
        effects: One for each block and technique.
    """

    title: str
    figure: str
    images: int
    quality: float
    params: dict[str, int]
    effects: list[Effect] = field(default_factory=list)

    def loss(self, effect: Effect) -> float | None:
        """The points that an effect costs; None where it cannot be had."""
        return None if effect.quality is None else 100 * (self.quality - effect.quality)

    def of(self, technique: str) -> list[Effect]:
        """The effects of a technique, in the order of the network."""
        return [effect for effect in self.effects if effect.technique == technique]

    def ordered(self) -> list[Effect]:
        """The least harmful first; at last what cannot be done."""

        def harm(effect: Effect) -> float:
            loss = self.loss(effect)
            return float("inf") if loss is None else loss

        return sorted(self.effects, key=harm)


def measure(
    recipe: Recipe,
    run: Run,
    runs: Path | None = None,
    techniques: Sequence[str] = tuple(TECHNIQUES),
    images: int | None = None,
    step: Step = unsaid,
) -> Sensitivity:
    """Compress every block of a network by every technique, one at a time, and read the quality.

    What was measured is kept under the runs folder after each reading, and is not measured again.

    Args:
        recipe: The network: its stages in floating point are found in the run's store, or trained.
        run: Task, budget, seed, device and store.
        runs: The runs folder.
        techniques: Keys of `TECHNIQUES`.
        images: Of the validation split, the first so many; all of them by default.
        step: Told of what takes a while.

    Raises:
        SearcherError: The network cannot be made, has random weights, or has no blocks.
        TrialError: A stage cannot be executed.
    """
    recipe = first(recipe, stored_stages(recipe))
    if not recipe.model.pretrained and not any(isinstance(stage, Training) for stage in recipe.stages):
        raise SearcherError(
            f"model {recipe.model.called} has random weights, which nothing harms: name a file of weights, "
            "or a recipe that trains it"
        )
    if runs is None:
        return _Measuring(recipe, run, None, images, step).all(techniques)
    place = runs / FOLDER / f"{_digest(recipe, run, images)}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.with_suffix(".lock")):
        return _Measuring(recipe, run, place, images, step).all(techniques)


def _digest(recipe: Recipe, run: Run, images: int | None) -> str:
    """A name for what a quality depends on."""
    every = [recipe.model, *(model for stage in recipe.stages for model in stage.models())]
    depends = [
        VERSION, recipe.model_dump(mode="json"), [identity(model) for model in every], run.task.fingerprint,
        run.seed, run.epochs, images, torch.__version__,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


class _Measuring:
    """A measurement that goes on where it is not whole; the network is made when it is first needed."""

    def __init__(self, recipe: Recipe, run: Run, place: Path | None, images: int | None, step: Step) -> None:
        self._recipe, self._run, self._place, self._step = recipe, run, place, step
        self._split = run.task.validation.first(images or len(run.task.validation))
        self._network: nn.Module | None = None

    def all(self, techniques: Sequence[str]) -> Sensitivity:
        """Every block by these techniques, in the order of the techniques."""
        found = self._before() or self._as_it_came()
        known = {(effect.block, effect.technique): effect for effect in found.effects}
        for technique in techniques:
            for block in found.params:
                if (block, technique) not in known:
                    known[block, technique] = self._effect(block, technique)
                    found.effects = list(known.values())
                    self._keep(found)
        found.effects = [known[block, technique] for technique in techniques for block in found.params]
        return found

    def _before(self) -> Sensitivity | None:
        if self._place is None or not self._place.is_file():
            return None
        try:
            content = json.loads(self._place.read_text(encoding="utf-8"))
            effects = [Effect(**effect) for effect in content.pop("effects")]
            return Sensitivity(**content, effects=effects)
        except (ValueError, TypeError, KeyError, AttributeError):  # damaged, or of another version
            return None

    def _keep(self, found: Sensitivity) -> None:
        if self._place:
            with in_one_step(self._place) as part:
                part.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")

    def _as_it_came(self) -> Sensitivity:
        network, task = self._made(), self._run.task
        parts = blocks(network)
        if not parts:
            raise SearcherError(f"model {self._recipe.model.called} has no block with parameters")
        quality = self._quality(floating(network), "as it came")
        params = {name: _params(network, paths) for name, paths in parts.items()}
        title = f"{self._recipe.words()}, on {task.name}"
        found = Sensitivity(title, task.figure, len(self._split), quality, params)
        self._keep(found)
        return found

    def _effect(self, block: str, technique: str) -> Effect:
        network = self._made()
        name = f"{block}, {technique}"
        self._step(name)
        try:
            made = TECHNIQUES[technique](network, blocks(network)[block], self._run)
        except (TrialError, SearcherError) as error:
            return Effect(block, technique, None, first_line(error))
        return Effect(block, technique, self._quality(made, name))

    def _quality(self, network: Network, name: str) -> float:
        def reading(model: nn.Module) -> float:
            with torch.no_grad(), counted(self._step, name, len(self._split), model):
                return self._run.task.quality(model, self._split)

        return read(network, self._run.device, reading, name, self._step)

    def _made(self) -> nn.Module:
        if self._network is None:
            self._step("make the network")
            self._network = run_recipe(self._recipe, self._run).architecture.cpu().eval()
        return self._network


def _params(network: nn.Module, paths: Sequence[str]) -> int:
    return sum(p.numel() for path in paths for p in network.get_submodule(path).parameters())
