"""Mean IoU against scikit-learn's confusion matrix, the loss against a loop, and laws of the augmentation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score
from torch import Tensor, nn

from searcher import tasks
from searcher.tasks.base import Batch, Split
from searcher.tasks.segmentation.colours import painted, palette
from searcher.tasks.segmentation.confusion import IGNORED, confusion, ious, mean_iou, pixel_accuracy
from searcher.tasks.segmentation.drawing import packed, unpacked
from searcher.tasks.segmentation.task import Segmentation, enlarged

CLASSES = 5


class Told(nn.Module):
    """A network whose logits are those of some classes, image by image."""

    def __init__(self, classes: Tensor, count: int) -> None:
        super().__init__()
        self.maps, self.count, self.place = classes, count, 0

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps[self.place : self.place + len(images)]
        self.place = (self.place + len(images)) % len(self.maps)
        return nn.functional.one_hot(maps.long(), self.count).permute(0, 3, 1, 2).float()


def labels(seed: int, count: int = 6, sides: tuple[int, int] = (9, 7), most: int = CLASSES) -> Tensor:
    random = np.random.default_rng(seed)
    found = random.integers(0, most, (count, *sides))
    return torch.from_numpy(np.where(random.random(found.shape) < 0.1, IGNORED, found).astype(np.uint8))


def task(truth: Tensor, classes: int = CLASSES, **options: object) -> Segmentation:
    split = Split(torch.zeros(len(truth), 3, *truth.shape[1:], dtype=torch.uint8), truth)
    made = Segmentation(
        "t", classes, split, split, split, (0.5,) * 3, (0.2,) * 3, 255.0,
        names=tuple("abcdefgh"[:classes]), flip=True, zoom=(0.5, 2.0),
    )  # fmt: skip
    return replace(made, **options)


@given(st.integers(0, 10**6), st.integers(2, CLASSES))
def test_figures_are_those_of_scikit_learn(seed: int, most: int):
    truth, predicted = labels(seed, most=most), labels(seed + 1, most=CLASSES) % CLASSES
    known = truth != IGNORED
    expected = confusion_matrix(truth[known], predicted[known], labels=range(CLASSES))
    matrix = confusion(predicted, truth, CLASSES)
    assert (matrix.numpy() == expected).all()
    everywhere = [c for c in range(CLASSES) if expected[c].sum() + expected[:, c].sum()]
    scores = jaccard_score(truth[known], predicted[known], labels=everywhere, average=None, zero_division=0.0)
    assert ious(matrix)[everywhere].tolist() == pytest.approx(scores.tolist())
    assert mean_iou(matrix) == pytest.approx(scores.mean())
    assert pixel_accuracy(matrix) == pytest.approx(float((truth == predicted)[known].float().mean()))


def test_figures_are_of_the_whole_split_and_not_a_mean_of_batches():
    truth = torch.zeros(40, 256, 256, dtype=torch.uint8)
    truth[0, :10] = 1
    predicted = torch.zeros_like(truth)
    predicted[0, :5], predicted[20, :5] = 1, 1
    made = task(truth, 2)
    assert len(list(made.predictions(Told(predicted, 2), made.test))) > 1
    found = made.figures(Told(predicted, 2), made.test)
    assert found["iou:b"] == pytest.approx(5 / 15)
    assert found["miou"] == pytest.approx((found["iou:a"] + found["iou:b"]) / 2)


def test_perfect_is_one_and_an_absent_class_changes_nothing():
    truth = labels(3, most=3)
    right = torch.where(truth == IGNORED, 0, truth)
    for classes in (3, 4, 8):
        found = task(truth, classes).figures(Told(right, classes), task(truth, classes).test)
        assert found == {"miou": 1, "pixel_accuracy": 1, "iou:a": 1, "iou:b": 1, "iou:c": 1}
    wrong = labels(4, most=3) % 3
    assert len({mean_iou(confusion(wrong, truth, classes)) for classes in (3, 4, 8)}) == 1


def test_without_any_known_pixel_figures_are_zero():
    truth = torch.full((2, 4, 4), IGNORED, dtype=torch.uint8)
    made = task(truth)
    assert made.figures(Told(truth % CLASSES, CLASSES), made.test) == {"miou": 0, "pixel_accuracy": 0}
    loss = made.loss(torch.randn(2, CLASSES, 4, 4), Batch(made.test.images, truth, torch.arange(2)))
    assert float(loss) == 0


def test_two_models_are_compared_pixel_by_pixel():
    truth = labels(0) % CLASSES
    half = truth.clone()
    half[:3] = (half[:3] + 1) % CLASSES
    made = task(truth)
    one, two, same = made.compare(Told(truth, CLASSES), Told(half, CLASSES), made.test)
    assert (one, same) == (1, pytest.approx(0.5))
    assert two == made.quality(Told(half, CLASSES), made.test)
    assert made.agreement(Told(half, CLASSES), Told(half, CLASSES), made.test) == 1


@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 1.0, 0.0, 3.0)], ids=["alike", "weighed"])
def test_the_loss_is_the_weighted_mean_over_known_pixels(weights: tuple[float, ...]):
    truth, logits = labels(0, 2), torch.randn(2, CLASSES, 9, 7, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.zeros(2, 3, 9, 7), truth, torch.arange(2))
    total = weight = 0.0
    for image in range(2):
        for y in range(9):
            for x in range(7):
                if (kind := int(truth[image, y, x])) != IGNORED:
                    own = weights[kind] if weights else 1.0
                    total -= own * float(logits[image, :, y, x].log_softmax(0)[kind])
                    weight += own
    assert float(task(truth, weights=weights).loss(logits, batch)) == pytest.approx(total / weight, rel=1e-5)


def test_logits_of_a_part_of_the_size_are_enlarged():
    truth = labels(0, 2, (8, 8)) % CLASSES
    logits = torch.randn(2, CLASSES, 4, 4)
    made, batch = task(truth), Batch(torch.zeros(2, 3, 8, 8), truth, torch.arange(2))
    assert made.loss(logits, batch) == made.loss(enlarged(logits, (8, 8)), batch)
    assert made.divergence(logits, logits, 4.0) == pytest.approx(0, abs=1e-6)
    assert made.divergence(logits, -logits, 4.0) > 0.1


@given(
    st.integers(0, 10**6), st.sampled_from([(1.0, 1.0), (0.5, 2.0), (2.0, 2.0), (0.5, 0.5)]), st.booleans()
)
def test_an_image_and_its_mask_move_as_one(seed: int, zoom: tuple[float, float], flip: bool):
    """Of an image that is its mask, what is inside of a class stays what its mask says, wherever it goes."""
    coarse = np.random.default_rng(seed).integers(0, CLASSES, (4, 3, 4))
    truth = torch.from_numpy(coarse.repeat(8, 1).repeat(8, 2).astype(np.uint8))
    made = task(truth, zoom=zoom, flip=flip, mean=(0.0,) * 3)
    images = (50 * truth)[:, None].expand(-1, 3, -1, -1)
    draws = made.draw(4, torch.Generator().manual_seed(seed))
    moved, found = made.augment(images, truth, draws)
    assert (moved.shape, found.shape, found.dtype) == (images.shape, truth.shape, truth.dtype)
    seen = torch.where(found == IGNORED, 0, 50 * found.float())
    near = ((moved[:, 0] - seen).abs() < 1).float().mean()
    assert near > 0.55
    if zoom == (1, 1):
        mirrored = torch.where(draws[:, 3].lt(0.5).view(-1, 1, 1) & torch.tensor(flip), truth.flip(2), truth)
        assert torch.equal(found, mirrored)
    if zoom == (0.5, 0.5):
        assert (found == IGNORED).float().mean() == pytest.approx(0.75, abs=0.05)
    if zoom == (2, 2):
        assert not (found == IGNORED).any()
    again = made.augment(images, truth, made.draw(4, torch.Generator().manual_seed(seed)))
    assert torch.equal(moved, again[0])
    assert torch.equal(found, again[1])


def test_classes_of_pixels_are_packed_without_loss():
    for seed in range(3):
        found = labels(seed)[0]
        assert torch.equal(unpacked(packed(found)), found)


def test_outputs_of_another_kind():
    assert Segmentation.misfit(torch.zeros(2, 5, 3, 3), 2, 5) == ""
    assert "returns 2×5 for 2 images, expected 2×5×height×width" in Segmentation.misfit(
        torch.zeros(2, 5), 2, 5
    )


def test_the_masks_of_digit_scenes():
    made, scenes = tasks.entry("digit-masks").load(), tasks.entry("digit-scenes").load()
    for ours, theirs in ((made.train, scenes.train), (made.test, scenes.test)):
        assert torch.equal(ours.images, theirs.images)
    for label, objects in zip(made.test.labels, scenes.test.labels, strict=True):
        boxes = [one for one in objects.tolist() if one[0] >= 0]
        strokes = [(int(kind), [round(64 * side) for side in box]) for kind, *box in boxes]
        for kind, (left, top, right, bottom) in strokes:
            inside = label[top:bottom, left:right]
            assert (inside == kind + 1).any()
        kinds = {kind + 1 for kind, _ in strokes}
        assert set(label.unique().tolist()) - {0, IGNORED} == kinds
    assert not math.isnan(made.quality(Told(made.test.labels % 11, 11), made.test))


def test_a_gallery_has_the_images_their_truth_and_what_models_find():
    made = tasks.entry("digit-masks").load()
    truth = made.test.first(4).labels
    perfect = made.sample(Told(truth % IGNORED, 11))
    assert [
        torch.equal(unpacked(one), label % IGNORED) for one, label in zip(perfect, truth, strict=True)
    ] == [True] * 4
    gallery = made.gallery({"before": perfect, "after": perfect[::-1]})
    assert gallery is not None
    assert {name: len(drawn) for name, drawn in gallery.rows.items()} == {
        "image": 4, "truth": 4, "before": 4, "after": 4, "classes": 11,
    }  # fmt: skip
    assert gallery.rows["before"] != gallery.rows["after"]
    assert "background" in gallery.rows["classes"][0]
    assert made.gallery({}) is None


def test_classes_have_colours_of_their_own():
    colours = {tuple(colour) for colour in palette(150).tolist()}
    assert len(colours) == 150
    label = torch.tensor([[0, 149, IGNORED]], dtype=torch.uint8)
    assert painted(label, 150).permute(1, 2, 0)[0].tolist() == [
        *palette(150)[[0, 149]].tolist(),
        [224, 224, 192],
    ]
