"""Augmentations and mixtures of a training: known answers, and laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from searcher import tasks
from searcher.compression.augmentation import BOX, Augmentation, coloured, inside, rotated
from searcher.compression.epoch import DRAWS, MIXTURE, Randomness
from searcher.compression.mixing import PARTNER, WEIGHT, Mixing, cut, mixed, smoothed
from searcher.tasks.base import one_hot

sizes = st.integers(1, 9)
shares = st.floats(0, 1)
seeds = st.integers(0, 2**31)


def pictures(seed=0, count=3, channels=3, height=6, width=6):
    return 255 * torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def drawn(augmentation, count=50, sides=(8, 6)):
    return augmentation.draw(count, sides, torch.Generator().manual_seed(0))


@given(seeds, sizes, sizes)
@settings(max_examples=25, deadline=None)
def test_a_rotation_by_nothing_changes_no_bit(seed, height, width):
    images = pictures(seed, height=height, width=width)
    assert torch.equal(rotated(images, torch.zeros(3)), images)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotation_by_right_angles_is_known(turns):
    images = pictures()
    expected = torch.rot90(images, turns, (2, 3))
    inner = (..., slice(1, -1), slice(1, -1))  # the border is half a rounding error from what is beyond it
    angles = torch.full((3,), turns * math.pi / 2)
    assert torch.allclose(rotated(images, angles)[inner], expected[inner], atol=1e-2)


def test_what_a_rotation_brings_in_is_black():
    ones = torch.ones(1, 1, 9, 9)
    corner = rotated(ones, torch.tensor([math.pi / 4]))[0, 0]
    assert corner[0, 0] == 0
    assert corner[4, 4] == 1


@given(seeds, st.sampled_from([1, 2, 3]))
@settings(max_examples=25, deadline=None)
def test_colours_by_nothing_change_no_bit(seed, channels):
    images = pictures(seed, channels=channels)
    assert torch.equal(coloured(images, torch.ones(3, 3), 255), images)


def test_colours_are_known():
    image = torch.tensor([100.0, 50.0, 10.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 10
    brighter = coloured(image, torch.tensor([[3.0, 1, 1]]), 255)[0, :, 0, 0]
    assert brighter.tolist() == pytest.approx([255, 150, 30])
    without = coloured(image, torch.tensor([[1.0, 1, 0]]), 255)[0, :, 0, 0]
    assert without.tolist() == pytest.approx([grey] * 3, rel=1e-5)
    flat = coloured(pictures(), torch.tensor([[1.0, 0, 1]] * 3), 255)
    assert flat.flatten(2).std(2).max() < 1e-3


@given(st.floats(0, 0.99), st.floats(0, 180))
@settings(max_examples=25, deadline=None)
def test_strengths_are_the_largest(colour, rotation):
    table = drawn(Augmentation(rotation, colour, 0.0))
    if rotation or colour:
        assert table[:, 0].abs().max() <= math.radians(rotation)
        assert (table[:, 1:4] - 1).abs().max() <= colour + 1e-12


def test_a_cutout_leaves_the_rest_as_it_is():
    task, cutout = tasks.entry("digits").load(), Augmentation(0.0, 0.0, 0.5)
    images, labels = task.train.images[:50], task.train.labels[:50]
    task_draws = task.draw(50, torch.Generator().manual_seed(0)).double()
    own = drawn(cutout, sides=task.image[1:])
    table = torch.cat([task_draws, own], 1)
    whole, _ = Augmentation(0.0, 0.0, 0.0).normalised(task, images, labels, task_draws)
    holes, _ = cutout.normalised(task, images, labels, table)
    box = inside(own[:, BOX], holes)
    assert torch.equal(holes[~box], whole[~box])
    assert (holes[box] == 0).all()
    areas = box.flatten(1).sum(1)
    assert areas.max() == 16  # of 4×4
    assert 4 <= areas.min() < 16  # a quarter of it, where the border cuts it


@given(shares, sizes, sizes, shares, shares)
def test_the_box_of_a_cutmix_has_the_other_share(weight, height, width, y, x):
    own, _, top, bottom, left, right = cut(weight, (height, width), (min(y, 0.99), min(x, 0.99)))
    area = (bottom - top) * (right - left)
    assert own == pytest.approx(1 - area / (height * width))
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    # By whole pixels; less where the border cuts it, never more.
    assert 1 - own <= 1 - weight + 1e-9


def test_a_box_in_the_middle_is_known():
    assert cut(0.75, (32, 32), (0.5, 0.5)) == (0.75, 1.0, 8.0, 24.0, 8.0, 24.0)
    assert cut(0.75, (32, 32), (0.0, 0.0)) == (1 - 64 / 1024, 1.0, 0.0, 8.0, 0.0, 8.0)


def test_cutmix_takes_the_box_from_the_partner_and_labels_by_its_area():
    table = Mixing(0.0, 1.0).draw(12, 12, (6, 6), torch.Generator().manual_seed(3))
    images, labels = pictures(count=12), torch.arange(12) % 10
    made, targets = mixed(images, labels, 10, table)
    box, partner = inside(table[:, 3:], images).expand_as(images), table[:, PARTNER].long()
    assert torch.equal(made[~box], images[~box])
    assert torch.equal(made[box], images[partner][box])
    assert box.any()
    share = box[0, 0].float().mean()
    expected = (1 - share) * one_hot(labels, 10) + share * one_hot(labels, 10)[partner]
    assert torch.allclose(targets, expected)


def test_mixup_and_cutmix_together_toss_a_coin_for_each_batch():
    table = Mixing(1.0, 1.0).draw(400, 4, (32, 32), torch.Generator().manual_seed(0))
    cuts = table[::4, 2] == 1
    assert 30 < int(cuts.sum()) < 70
    assert (table[::4, 3:][~cuts] == 0).all()
    assert torch.equal(table[::4, WEIGHT][~cuts], table[::4, 2][~cuts])


@given(st.floats(0, 0.9), seeds)
@settings(max_examples=25, deadline=None)
def test_smoothed_labels_are_what_torch_has(share, seed):
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(seed))
    expected = F.cross_entropy(logits, torch.arange(5), label_smoothing=share)
    assert F.cross_entropy(logits, smoothed(torch.arange(5), 10, share)) == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_smoothing_by_nothing_is_the_label_and_by_a_fifth_is_known():
    assert torch.equal(smoothed(torch.tensor([1]), 4, 0.0), torch.tensor([[0.0, 1, 0, 0]]))
    assert smoothed(torch.tensor([1]), 4, 0.2).tolist() == [pytest.approx([0.05, 0.85, 0.05, 0.05])]


def test_what_is_off_draws_nothing():
    task = tasks.entry("digits").load()

    def rows(*strengths):
        generator = torch.Generator().manual_seed(0)
        table = Randomness(task, Augmentation(*strengths), Mixing(0.0, 0.0), 20).rows(50, generator)
        return table, generator.get_state()

    (off, state), (on, other) = rows(0.0, 0.0, 0.0), rows(10.0, 0.0, 0.0)
    assert off.shape[1] == DRAWS + 3
    assert torch.equal(on[:, : off.shape[1]], off)
    assert not torch.equal(state, other)
    assert torch.equal(off[:, MIXTURE], torch.tensor([[0.0, 1, 1, 0, 0, 0, 0]]).double().expand(50, 7))
