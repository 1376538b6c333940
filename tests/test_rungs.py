import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.config.recipe import Model, PruneChannels, PruneWeights, Quantize, Recipe, Train
from searcher.config.study import EarlyStopping, StudyFile
from searcher.searching.early_stopping import Rungs
from searcher.searching.pareto import crowding, ranking
from searcher.searching.screening import Screen

points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30)


def test_rungs_are_geometric():
    assert EarlyStopping(min_epochs=2).rungs(6)[:4] == (2, 6, 18, 54)
    assert EarlyStopping(enabled=False).rungs(6) == ()
    assert EarlyStopping().rungs(60)[0] == 20


def test_a_trial_at_a_rung_has_the_cost_of_what_it_has_made():
    study = StudyFile("micronet", ["budget.epochs=6"]).study("digits")
    model = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1, 1, 1]})
    stages = (Train(), PruneChannels(ratio=0.5, share=0.5), PruneWeights(sparsity=0.5, share=0.5), Quantize())
    whole, screen = Recipe(model=model, stages=stages), Screen(study)

    def cost(count: int) -> float:
        prefix = whole.model_copy(update={"stages": stages[:count]})
        return screen.look(prefix).predicted["micronet_score:imt-2022"]

    seen = [screen.so_far(whole, epochs)["micronet_score:imt-2022"] for epochs in (1, 6, 7, 9, 10, 12, 99)]
    assert seen == [cost(1)] * 2 + [cost(2)] * 2 + [cost(3)] * 3
    assert cost(1) > cost(2) > cost(3) > cost(4)


def test_ranks_and_crowding_by_hand():
    ranks, order = ranking(np.array([[0, 3], [1, 1], [3, 0], [2, 2], [4, 4]]))
    assert list(ranks) == [0, 0, 0, 1, 2]
    assert set(order[:2]) == {0, 2}, "the ends of the front come first"
    assert order[2:] == [1, 3, 4]
    assert list(crowding(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]]))) == [np.inf, 2.0, np.inf]


@settings(deadline=None)
@given(points)
def test_what_nothing_dominates_goes_on_and_a_worse_twin_never_before_it(pairs):
    rungs, promoted = Rungs(3), set()
    for ordinal, point in enumerate(pairs):
        goes_on = rungs.arrive(ordinal, 1, point)
        before = pairs[:ordinal]
        dominated = any(
            all(b <= p for b, p in zip(other, point, strict=True)) and other != point for other in before
        )
        if not dominated:
            assert goes_on
        if rungs.arrive(len(pairs) + ordinal, 1, (point[0] + 1, point[1] + 1)):
            while found := rungs.promotable():
                rungs.promote(*found)
                promoted.add(found[0])
            assert goes_on or ordinal in promoted


def test_a_stopped_trial_is_promoted_when_it_is_among_the_best():
    rungs = Rungs(3)
    assert rungs.arrive(0, 1, (1, 1))
    assert not rungs.arrive(1, 1, (2, 2))
    assert rungs.promotable() is None
    for ordinal in range(2, 6):
        assert not rungs.arrive(ordinal, 1, (3 + ordinal, 3 + ordinal))
    assert rungs.promotable() == (1, 1)
    rungs.promote(1, 1)
    assert rungs.promotable() is None
    assert rungs.arrive(1, 1, (2, 2)), "it comes by again when it is resumed"


def test_what_was_stored_is_known_again():
    rungs = Rungs(2)
    rungs.restore(0, {1: (0, 0), 3: (0, 0)}, stopped=False)
    rungs.restore(1, {1: (1, 1), 3: (5, 5)}, stopped=True)
    assert rungs.arrive(1, 1, (1, 1))
    assert not rungs.arrive(1, 3, (5, 5))
