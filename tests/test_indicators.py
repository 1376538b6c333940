from pathlib import Path

import pytest

from searcher.config.study import Study
from searcher.searching.indicators import Hypervolume, Importances, hypervolume, importances
from searcher.searching.storage import studies
from searcher.ui.terminal.trials import complete_trials
from tests.helpers.studies import store, study


def found(tmp_path: Path, searched: Study, rows: list[tuple[float, ...]]) -> Hypervolume | str:
    store(tmp_path, searched, rows)
    stored, _ = studies.load(tmp_path, searched.stored_name)
    return hypervolume(searched, complete_trials(stored))


def test_hypervolume_of_three_points(tmp_path: Path):
    """Values of top1 0.5 to 1 and macs 0 to 100: the reference is (0.45, 110), the box 0.55 × 110."""
    rows = [(0.5, 0.0), (1.0, 100.0), (0.8, 40.0), (0.7, 50.0)]
    result = found(tmp_path, study(), rows)
    assert isinstance(result, Hypervolume)
    assert result.reference == pytest.approx([0.45, 110])
    first = 0.05 * 110
    second = first + 0.5 * 10
    third = second + (0.8 - 0.5) * (110 - 40 - 10)
    assert result.shares == pytest.approx([v / (0.55 * 110) for v in (first, second, third, third)])
    assert result.seconds == [2, 4, 6, 8]
    assert result.trials == [0, 1, 2, 3]


def test_infeasible_trials_dominate_nothing(tmp_path: Path):
    result = found(tmp_path, study(), [(0.4, 0.0), (0.6, 100.0)])
    assert isinstance(result, Hypervolume)
    assert result.shares[0] == 0
    assert result.shares[1] == pytest.approx(0.22 * 10 / (0.22 * 110))


def test_importance_finds_the_parameter_that_decides(tmp_path: Path):
    # `growth_rate` of trial n is 2 + n % 11, `int8` is n % 3 == 0.
    searched = study()
    store(tmp_path, searched, [(0.5 + 0.01 * (n % 11), 100.0 + n) for n in range(66)])
    stored, _ = studies.load(tmp_path, searched.stored_name)
    result = importances(searched, stored, complete_trials(stored), 0)
    assert isinstance(result, Importances)
    assert result.shares["growth_rate"] > 0.95
    assert not result.unsure
    assert sum(result.shares.values()) == pytest.approx(1)
