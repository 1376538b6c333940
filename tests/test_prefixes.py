import optuna
import pytest

from searcher.config import catalog
from searcher.config.study import Sampler, StudyFile
from searcher.errors import SearcherError
from searcher.searching import samplers
from searcher.searching.prefixes import deciding, depths

SUGGEST = catalog.load(catalog.find("spaces", "micronet")).suggest


@pytest.mark.parametrize("seed", range(8))
def test_what_keeps_the_deciding_parameters_keeps_the_prefix(seed: int):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    recipe = SUGGEST(trial)
    for stages in range(1, depths(recipe) + 1):
        kept = deciding(SUGGEST, trial.params, trial.distributions, stages)
        assert "growth_rate" in kept
        assert "int8" not in kept
        for _ in range(5):
            study.enqueue_trial(kept)
            assert SUGGEST(study.ask()).digest(stages) == recipe.digest(stages)


def test_a_sampler_with_an_option_that_it_does_not_have():
    with pytest.raises(SearcherError, match=r"option of sampler tpe .*n_startup_trials"):
        samplers.make(Sampler(options={"n_startup_trial": 3}), 0, 0)


@pytest.mark.parametrize("name", sorted(samplers.SAMPLERS))
def test_every_sampler_suggests(name: str):
    study = optuna.create_study(directions=["maximize", "minimize"])
    for ordinal in range(3):
        study.sampler = samplers.make(Sampler.model_validate({"name": name}), 0, ordinal)
        trial = study.ask()
        SUGGEST(trial)
        study.tell(trial, [0.5, 0.5])


def test_the_keys_of_a_search_in_a_study_file():
    sets = ["sampler.name='nsga2'", "early_stopping.reduction_factor=4", "warm_start.from='other'"]
    study = StudyFile("micronet", [*sets, "task=digits"]).study("digits")
    assert study.warm_start is not None
    assert study.warm_start.study == "other"
    assert type(study).model_validate_json(study.model_dump_json()) == study
    with pytest.raises(SearcherError, match="did you mean from"):
        StudyFile("micronet", ["warm_start.form='x'"])
