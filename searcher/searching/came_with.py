"""A study's model as it came: its figures, to which budgets are relative, and whether these can be met."""

from collections.abc import Iterator, Sequence
from itertools import chain

import optuna

from searcher.config.metric import Constraint
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.errors import SearcherError, TrialError
from searcher.searching.loading import Space
from searcher.searching.screening import Screen
from searcher.searching.variants import cheapest

DRAWN = 64
"""So many random recipes are predicted before a budget is said to be beyond a space."""


def learn_costs(study: Study, space: Space) -> dict[str, float]:
    """Have a study's relative budgets know what can be predicted of its model as it came.

    Returns:
        The figures by key; none where no budget is relative.

    Raises:
        SearcherError: There is no such model, or the space does not begin with it.
    """
    relative = [c for c in study.constraints if c.is_relative]
    if not relative:
        return {}
    if not study.model:
        raise SearcherError(
            f"constraint {relative[0].name}: relative to the model as it came: model is missing"
        )
    if not space.as_it_came:
        raise SearcherError(
            f"constraint {relative[0].name}: space {study.space} has no known configuration that leaves the "
            "model as it came, to which it is relative: let its enqueue(model) begin with one"
        )
    figures = Screen(study).look(space.as_it_came).predicted
    study.learn(figures)
    return figures


def check_budgets(study: Study, space: Space) -> None:
    """Refuse budgets that no recipe of a space satisfies by prediction.

    Raises:
        SearcherError: Says the nearest that is there.
    """
    screen = Screen(study)
    known = (space.suggest(optuna.trial.FixedTrial(params)) for params in space.known)
    nearest: tuple[float, Recipe] | None = None
    for recipe in chain(known, _drawn(study, space), _smallest(study, space, screen)):
        off = _beyond(study.constraints, screen, recipe)
        if off is None:
            continue
        if off <= 0:
            return
        nearest = min(nearest or (off, recipe), (off, recipe), key=lambda found: found[0])
    if nearest:
        raise SearcherError(_words(study, screen, nearest[1]))


def _drawn(study: Study, space: Space) -> Iterator[Recipe]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=study.seed))
    for _ in range(DRAWN):
        try:
            yield space.suggest(drawing.ask())
        except Exception:  # a configuration that the space cannot make
            continue


def _smallest(study: Study, space: Space, screen: Screen) -> Iterator[Recipe]:
    """The nearest that is found by changing one parameter at a time."""

    def cost(recipe: Recipe) -> tuple[float, ...] | None:
        off = _beyond(study.constraints, screen, recipe)
        return None if off is None else (off,)

    found = cheapest(space.suggest, {}, cost)
    if found:
        yield found.recipe


def _beyond(bounds: Sequence[Constraint], screen: Screen, recipe: Recipe) -> float | None:
    """The largest violation of a bound on what is predicted, as a share of it; None where nothing is."""
    try:
        found = screen.look(recipe)
    except (SearcherError, TrialError):
        return None
    beyond = [(bound, found.beyond(bound)) for bound in bounds]
    return max((off / (abs(b.bound) or 1) for b, off in beyond if off is not None), default=0.0)


def _words(study: Study, screen: Screen, nearest: Recipe) -> str:
    found = screen.look(nearest)
    broken = [bound for bound in study.constraints if (found.beyond(bound) or 0) > 0]
    bounds = ", ".join(map(str, broken))
    figures = ", ".join(f"{bound.key} {found.words(bound)}" for bound in broken)
    return (
        f"constraints: no recipe of space {study.space} that was found satisfies {bounds}: the nearest has "
        f"{figures} ({nearest.words()})"
    )
