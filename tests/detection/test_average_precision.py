import json
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from searcher import tasks
from searcher.tasks.detection.coco_eval import Found, Truth, evaluate
from searcher.tasks.detection.task import Detection


@pytest.fixture(scope="module")
def scenes() -> Detection:
    task = tasks.entry("digit-scenes").load()
    assert isinstance(task, Detection)
    return task


def perfect(truth: Truth) -> list[Found]:
    return [
        Found(one["image_id"], one["category_id"], tuple(one["bbox"]), 0.9)
        for one in truth.instances["annotations"]
    ]


def noisy(truth: Truth) -> list[Found]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for one in perfect(truth):
        for _ in range(3):
            shift = torch.randn(4, generator=generator) * 2
            box = tuple(float(v) for v in torch.tensor(one.box) + shift)
            box = (box[0], box[1], max(box[2], 1.0), max(box[3], 1.0))
            wrong = float(torch.rand((), generator=generator)) < 0.2
            category = one.category % 10 + 1 if wrong else one.category
            found.append(Found(one.image, category, box, float(torch.rand((), generator=generator))))
    return found


def test_perfect_detections_give_1_and_none_give_0(scenes: Detection):
    truth, ids = scenes.validation.truth, scenes.validation.ids.tolist()
    best = evaluate(truth, ids, perfect(truth))
    assert (best.map, best.map50, best.map75) == (1.0, 1.0, 1.0)
    assert all(values == (1.0, 1.0) for values in best.classes.values())
    assert {best.figures[f"map50:{name}"] for name in truth.names} == {1.0}
    none = evaluate(truth, ids, [])
    assert (none.map, none.map50, none.ar[2]) == (0.0, 0.0, 0.0)


def test_the_figures_are_those_of_pycocotools(scenes: Detection, tmp_path):
    truth, ids = scenes.validation.truth, scenes.validation.ids.tolist()
    found = noisy(truth)
    (tmp_path / "truth.json").write_text(json.dumps(truth.instances))
    saved = [
        {"image_id": f.image, "category_id": f.category, "bbox": list(f.box), "score": f.score} for f in found
    ]
    (tmp_path / "found.json").write_text(json.dumps(saved))
    coco = COCO(str(tmp_path / "truth.json"))
    run = COCOeval(coco, coco.loadRes(str(tmp_path / "found.json")), "bbox")
    run.params.imgIds = ids
    run.evaluate()
    run.accumulate()
    run.summarize()
    ours = evaluate(truth, ids, found)
    figures = [ours.map, ours.map50, ours.map75, ours.small, ours.medium, ours.large]
    figures += [*ours.ar, *ours.ar_sizes]
    for own, theirs in zip(figures, run.stats, strict=True):
        assert (math.isnan(own) and theirs == -1) or own == pytest.approx(theirs, abs=1e-9)
    assert 0.1 < ours.map < 0.9
    assert ours.map == pytest.approx(sum(ap for ap, _ in ours.classes.values()) / 10, abs=1e-9)


def test_an_image_without_objects_is_no_error():
    truth = Truth(
        {
            "images": [{"id": 1, "width": 10, "height": 10}, {"id": 2, "width": 10, "height": 10}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
            ],
            "categories": [{"id": 7, "name": "thing"}],
        }
    )
    found = [Found(1, 7, (1, 1, 5, 5), 0.9), Found(2, 7, (1, 1, 5, 5), 0.5)]
    assert evaluate(truth, [1, 2], found).map == pytest.approx(1.0)
    assert "_ignore" not in truth.instances["annotations"][0]
    nothing = evaluate(truth, [2], [])
    assert math.isnan(nothing.map)
    assert nothing.figures == {}
