from dataclasses import replace

import pytest
import torch

from searcher import tasks
from searcher.tasks.detection import heads
from searcher.tasks.detection.boxes import giou
from searcher.tasks.detection.task import Detection

CLASSES = 3
GRID = [torch.zeros(2, 5 + CLASSES, 8, 8), torch.zeros(2, 5 + CLASSES, 4, 4)]
PRIOR = [torch.zeros(2, 6 * (5 + CLASSES), 8, 8), torch.zeros(2, 6 * (5 + CLASSES), 4, 4)]
LABELS = torch.tensor(
    [
        [[0, 0.1, 0.1, 0.4, 0.5], [2, 0.5, 0.5, 0.95, 0.9]],
        [[1, 0.3, 0.2, 0.6, 0.6], [-1, 0, 0, 0, 0]],
    ]
)


def test_offsets_and_boxes_are_inverse():
    prior = heads.priors(PRIOR)
    boxes = torch.tensor([0.2, 0.3, 0.5, 0.9]).expand(1, len(prior), 4)
    assert torch.allclose(heads.prior_boxes(heads.prior_offsets(boxes, prior), prior), boxes, atol=1e-5)


def test_every_object_has_a_box_a_priori():
    prior = heads.priors(PRIOR)
    present = LABELS[..., 0] >= 0
    owner = heads.match(LABELS, present, prior)
    assert {0, 1} <= set(owner[0].tolist())
    assert set(owner[1].tolist()) == {-1, 0}


def test_every_object_of_a_usual_size_has_a_cell():
    present = LABELS[..., 0] >= 0
    owner = heads.assign(GRID, LABELS, present)
    assert set(owner[0].tolist()) == {-1, 0, 1}
    assert set(owner[1].tolist()) == {-1, 0}


def test_rows_are_the_maps_cells_in_order():
    one = torch.arange(2 * 6 * 8 * 4.0).view(2, 6 * 8, 2, 2)
    rows = heads.flatten([one], CLASSES)
    assert rows.shape == (2, 24, 8)
    assert torch.equal(rows[0, 7], one[0, 8:16, 0, 1])


@pytest.mark.parametrize("maps", [GRID, PRIOR], ids=["grid", "prior"])
def test_a_descent_finds_the_boxes(maps):
    torch.manual_seed(0)
    free = [torch.zeros_like(m).normal_(0, 0.1).requires_grad_() for m in maps]
    optimizer = torch.optim.Adam(free, 0.1)
    first = None
    for _ in range(150):
        optimizer.zero_grad()
        value = heads.loss(free, LABELS, CLASSES)
        value.backward()
        optimizer.step()
        first = first or float(value.detach())
    assert float(value.detach()) < 0.1 * first
    boxes, scores = heads.decode([m.detach() for m in free], CLASSES)
    best = scores[0].amax(0).argsort(descending=True)[:2]
    assert set(best.tolist()) == {0, 2}
    place = scores[0, :, 0].argmax()
    assert float(giou(boxes[0, place], LABELS[0, 0, 1:])) > 0.8


def test_augmentation_moves_boxes_with_their_images():
    task = tasks.entry("digit-scenes").load()
    assert isinstance(task, Detection)
    images = torch.zeros(64, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 16:32, 20:44] = 200
    labels = torch.tensor([[[3, 20 / 64, 16 / 64, 44 / 64, 32 / 64]]]).repeat(64, 1, 1)
    mirrored = replace(task, flip=True)
    moved, boxes = mirrored.augment(images, labels, mirrored.draw(64, torch.Generator().manual_seed(0)))
    assert moved.shape == (64, 1, 64, 64)
    for image, (kind, x1, y1, x2, y2) in zip(moved[:, 0], boxes[:, 0].tolist(), strict=True):
        assert kind == 3
        rows, columns = (image > 60).nonzero(as_tuple=True)
        seen = [columns.min() / 64, rows.min() / 64, (columns.max() + 1) / 64, (rows.max() + 1) / 64]
        assert torch.allclose(torch.tensor(seen), torch.tensor([x1, y1, x2, y2]), atol=2.5 / 64)
    assert not torch.equal(boxes, labels)


def test_a_box_that_leaves_its_image_is_no_object_any_more():
    task = tasks.entry("digit-scenes").load()
    assert isinstance(task, Detection)
    far = replace(task, zoom=0.9)
    labels = torch.tensor([[[3, 0.0, 0.0, 0.1, 0.1]]]).repeat(200, 1, 1)
    _, moved = far.augment(
        torch.zeros(200, 1, 64, 64), labels, far.draw(200, torch.Generator().manual_seed(0))
    )
    gone = moved[:, 0, 0] < 0
    assert 20 < int(gone.sum()) < 190
    left = moved[~gone][:, 0, 1:]
    assert (left >= 0).all()
    assert (left <= 1).all()
