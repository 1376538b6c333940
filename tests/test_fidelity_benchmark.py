"""The rank correlations of short and long trainings."""

import pytest
from scipy.stats import kendalltau, spearmanr

from benchmarks.fidelity import SCORES, Fidelity, correlation, networks, summary
from searcher.compression.predict import predict
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.costs.scores import score


def test_known_correlations() -> None:
    assert correlation(spearmanr, [1, 2, 3], [10, 20, 25]) == pytest.approx(1)
    assert correlation(kendalltau, [1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert correlation(spearmanr, [1, 1], [1, 2]) == correlation(kendalltau, [1, 2], [1, 1]) == 0


def test_networks_are_of_all_families_and_of_the_scores_that_are_looked_for() -> None:
    found = networks(6)
    assert [model.name for model in found] == ["gated", "inverted", "tiny_resnet"] * 2
    assert networks(6) == found
    for model in found:
        ops = predict(Recipe(model=model, stages=(Quantize(),)), (3, 32, 32), 10).ops
        assert ops is not None
        assert SCORES[0] <= score(ops, "imt-2022").value <= SCORES[1]


def test_what_is_lost_by_taking_the_best_of_the_short_trainings() -> None:
    models = [Model(name="gated", args={"widths": [w, w]}) for w in (4, 8, 12)]
    found = {
        "10x1": [0.5, 0.2, 0.1],
        "20x1": [0.1, 0.2, 0.3],
        "40x2": [0.7, 0.8, 0.9],
    }
    told = summary(models, found, "40x2")
    assert told["short_trainings"]["10x1"]["spearman"] == pytest.approx(-1)
    assert told["short_trainings"]["10x1"]["best"] == pytest.approx(0.2)
    assert told["short_trainings"]["20x1"]["best"] == 0
    assert told["ratio"] == 0.25
    found["40x2"].pop()  # two of three long trainings are done
    assert len(summary(models, found, "40x2")["accuracy"]) == 2


def test_a_fidelity_is_written_as_it_is_read() -> None:
    assert str(Fidelity.of("5000x10")) == "5000x10"
