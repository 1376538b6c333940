import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.tasks.detection.boxes import area, centred, cornered, giou, iou, nms

side = st.floats(0.01, 1, allow_nan=False)
place = st.floats(0, 1, allow_nan=False)
box = st.tuples(place, place, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
many = st.lists(box, min_size=1, max_size=20).map(torch.tensor)


def test_iou_by_hand():
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    assert torch.allclose(iou(a, b), torch.tensor([[1 / 7, 1.0, 0.0]]))
    assert float(giou(a[0], b[0])) == pytest.approx(1 / 7 - 2 / 9)
    assert float(giou(a[0], b[2])) == pytest.approx(-(36 - 5) / 36)


@settings(deadline=None)
@given(many)
def test_laws_of_iou(boxes):
    table = iou(boxes, boxes)
    assert torch.allclose(table, table.T, atol=1e-6)
    assert torch.allclose(table.diagonal(), torch.ones(len(boxes)), atol=1e-4)
    assert (giou(boxes, boxes.flip(0)) <= iou(boxes, boxes.flip(0)).diagonal() + 1e-5).all()
    assert torch.allclose(cornered(centred(boxes)), boxes, atol=1e-6)
    assert (area(boxes) > 0).all()


@settings(deadline=None)
@given(many, st.integers(0, 2**31))
def test_nms_is_the_greedy_one(boxes, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(boxes), generator=generator)
    classes = torch.randint(0, 2, (len(boxes),), generator=generator)
    table = iou(boxes, boxes)
    kept: list[int] = []
    for one in scores.argsort(descending=True, stable=True).tolist():
        if not any(classes[one] == classes[k] and table[one, k] > 0.5 for k in kept):
            kept.append(one)
    assert nms(boxes, scores, classes, 0.5).tolist() == kept
