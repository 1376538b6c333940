"""Files of weights that a space names are tried before a search."""

import pytest
import torch
from torch import nn

from searcher.compression import build
from searcher.config.recipe import Distill, Model, Recipe, Train
from searcher.errors import SearcherError
from searcher.searching.check import check_parts
from searcher.searching.loading import models_of
from tests.helpers.studies import study

SPACE = """
from searcher.recipe import Model, Recipe, Train

ENQUEUE = [{"known": True}]


def suggest(trial):
    file = "known.pt" if trial.suggest_categorical("known", [True, False]) else "drawn.pt"
    return Recipe(model=Model(name="tests.test_check_weights:net", weights=file), stages=(Train(),))
"""


def net(classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


@pytest.mark.parametrize("bad", ["known", "drawn"])
def test_a_search_does_not_begin_with_weights_that_do_not_fit(bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "weighted.py").write_text(SPACE)
    asked = study(space="weighted", constraints=())
    for name in ("known", "drawn"):
        torch.save(net().state_dict(), f"{name}.pt")
    assert check_parts(asked).known == [{"known": True}]
    torch.save({name: tensor.int() for name, tensor in net().state_dict().items()}, f"{bad}.pt")
    with pytest.raises(
        SearcherError, match=rf"weights {bad}.pt: does not fit the network: 1.weight: of type int32"
    ):
        check_parts(asked)


def test_each_file_is_tried_once_a_model_teachers_too(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(build, "initialise", lambda network, path, outputs: tried.append(path.name) or [])
    one, other = (Model(name="tests.test_check_weights:net", weights=name) for name in ("a.pt", "b.pt"))
    plain = Model(name="tests.test_check_weights:net")
    recipes = [
        Recipe(model=one, stages=(Train(),)),
        Recipe(model=one, stages=()),
        Recipe(model=plain, stages=(Distill(teacher=other),)),
    ]
    random = torch.get_rng_state()
    build.check_weights(models_of(recipes), (1, 8, 8), 10)
    assert tried == ["a.pt", "b.pt"]
    assert torch.equal(torch.get_rng_state(), random)
