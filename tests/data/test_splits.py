"""Splits that are drawn: laws for any numbers of images."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.tasks.splits import digest_of, divided


@given(
    counts=st.lists(st.integers(3, 40), min_size=2, max_size=6),
    shares=st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49)),
    seed=st.integers(0, 5),
)
def test_one_image_is_in_one_split_and_every_class_in_each(counts, shares, seed):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    names = [str(label) for label in range(len(counts))]
    data = Data(validation=shares[0], test=shares[1], seed=seed)
    parts, _ = divided(labels, [""] * len(labels), names, data, "here")
    assert sorted(place for places in parts.values() for place in places) == list(range(len(labels)))
    for places in parts.values():
        assert {labels[place] for place in places} == set(range(len(counts)))
    again, _ = divided(labels, [""] * len(labels), names, data, "here")
    assert again == parts


def test_the_shares_are_of_each_class():
    labels = [0] * 100 + [1] * 20
    parts, said = divided(labels, [""] * 120, ["a", "b"], Data(validation=0.2, test=0.1), "here")
    counts = {part: Counter(labels[i] for i in places) for part, places in parts.items()}
    assert counts == {"train": {0: 70, 1: 14}, "validation": {0: 20, 1: 4}, "test": {0: 10, 1: 2}}
    assert said == "10% test and 20% validation drawn class by class, seed 0"


def test_the_order_is_drawn():
    labels = [0] * 50 + [1] * 50
    parts, _ = divided(labels, [""] * 100, ["a", "b"], Data(), "here")
    assert len({labels[i] for i in parts["train"][:10]}) == 2


def test_given_splits_stay_and_a_missing_one_is_drawn_from_training():
    given_splits = ["train"] * 20 + ["validation"] * 4
    parts, said = divided([0, 1] * 12, given_splits, ["a", "b"], Data(), "here")
    assert sorted(parts["validation"]) == [20, 21, 22, 23]
    assert len(parts["test"]) == 4
    assert said == "15% test drawn class by class, seed 0"


@pytest.mark.parametrize(
    ("labels", "splits", "data", "said"),
    [
        ([0, 0, 0, 1, 1], [""] * 5, Data(), "class 'b' has 2 images, and needs at least 3"),
        (
            [0, 1, 0, 0, 1],
            ["train", "train", "val", "test", "test"],
            Data(),
            "class 'b' is in train and test alone",
        ),
        ([0, 0, 1], ["train", "val", "val"], Data(), "class 'b' is in validation alone"),
        (
            [0, 1, 1, 0, 1],
            ["train", "train", "train", "val", "val"],
            Data(),
            "class 'a' has 1 image, and needs",
        ),
        ([0, 1], ["val", "test"], Data(), "no images to train on"),
        (
            [0, 1, 0, 1],
            ["train", "train", "val", "val"],
            Data(validation=0.2),
            "has a validation split of its own",
        ),
    ],
)
def test_what_cannot_be_divided(labels, splits, data, said):
    given_splits = [split.replace("val", "validation") for split in splits]
    with pytest.raises(SearcherError, match=said):
        divided(labels, given_splits, ["a", "b"], data, "here")


def test_an_image_of_one_colour_is_like_any_other():
    assert digest_of(np.full((3, 4, 4), 7, dtype=np.uint8)) == b""
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    assert len(digest_of(noise)) == 16
    assert digest_of(noise) != digest_of(noise[::-1])
