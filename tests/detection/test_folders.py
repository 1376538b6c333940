import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from searcher import tasks
from searcher.errors import SearcherError
from searcher.tasks.detection.annotations import cleaned, read, scenes
from searcher.tasks.detection.digit_scenes import digit_scenes
from searcher.tasks.detection.folders import detection


def instances(**changes: Any) -> dict[str, Any]:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 20} for i in range(1, 21)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 5, "bbox": [4, 2, 20, 10], "area": 200, "iscrowd": 0}
        for i in range(1, 21)
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "bar"}]} | changes


def annotation(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "image_id": 1,
        "category_id": 5,
        "bbox": [4, 2, 20, 10],
        "area": 200,
        "iscrowd": 0,
    } | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(1, 21):
        Image.new("RGB", (40, 20), (number, 0, 0)).save(tmp_path / "images" / f"{number}.jpg")
    (tmp_path / "instances.json").write_text(json.dumps(instances()))
    return tmp_path


def test_a_folder_is_read(folder: Path):
    task = detection(folder, "bars", 32)
    assert task.image == (3, 32, 32)
    assert [len(s) for s in (task.train, task.validation, task.test)] == [14, 3, 3]
    ids = [int(i) for s in (task.train, task.validation, task.test) for i in s.ids]
    assert sorted(ids) == list(range(1, 21))
    assert task.train.labels[0, 0].tolist() == pytest.approx([0, 0.1, 0.1, 0.6, 0.6])
    assert task.names == ("bar",)
    assert detection(folder, "bars", 32).fingerprint == task.fingerprint


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 99}, "annotation of an image that is not listed"),
        ({"category_id": 6}, "annotation of an unknown category"),
        ({"bbox": [4, 2, 0, 10]}, "box without area"),
        ({"bbox": [50, 2, 5, 5]}, "box outside of its image"),
        ({"bbox": [30, 2, 20, 5]}, "box clipped to its image"),
    ],
)
def test_what_cannot_be_meant_is_counted(change: dict[str, Any], reason: str):
    truth = cleaned(instances(annotations=[annotation(), annotation(**change)]), "here")
    assert truth.dropped == {reason: 1}
    kept = truth.instances["annotations"]
    assert len(kept) == (2 if "clipped" in reason else 1)
    if "clipped" in reason:
        assert kept[1]["bbox"] == [30, 2, 10, 5]


def test_images_that_are_broken_or_absent_are_counted(folder: Path):
    whole = (folder / "images" / "3.jpg").read_bytes()
    (folder / "images" / "3.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "4.jpg").unlink()
    found, dropped = scenes(folder, read(folder), [1, 2, 3, 4], 16)
    assert found.ids.tolist() == [1, 2]
    assert dropped == {"image that cannot be read": 1, "image that is not there": 1}
    task = detection(folder, "bars", 16)
    assert sum(task.dropped.values()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ("{}", "no 'images'"),
        (json.dumps(instances(categories=[])), "no categories"),
        (json.dumps(instances(annotations=[{"image_id": 1}])), "no 'bbox'"),
    ],
)
def test_what_is_no_annotation_is_one_clear_error(folder: Path, content: str, message: str):
    (folder / "instances.json").write_text(content)
    with pytest.raises(SearcherError, match=message):
        detection(folder, "bars", 16)


def test_splits_that_are_given_are_kept_and_checked(folder: Path):
    given = {"train": list(range(1, 15)), "val": [15, 16, 17]}
    (folder / "split.json").write_text(json.dumps(given))
    task = detection(folder, "bars", 16)
    assert task.validation.ids.tolist() == [15, 16, 17]
    assert len(task.train) + len(task.test) == 14
    (folder / "split.json").write_text(json.dumps(given | {"val": [1, 15]}))
    with pytest.raises(SearcherError, match="in two splits"):
        detection(folder, "bars", 16)
    (folder / "split.json").write_text(json.dumps(given | {"val": [77]}))
    with pytest.raises(SearcherError, match="1 images are not annotated"):
        detection(folder, "bars", 16)


VOC = """<annotation><filename>a.jpg</filename><size><width>40</width><height>20</height></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>5</xmin><ymin>3</ymin><xmax>24</xmax><ymax>12</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>20</ymax></bndbox></object></annotation>"""


def test_voc_is_read_into_the_same_form(tmp_path: Path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(VOC)
    truth = read(tmp_path)
    assert truth.names == ("cat", "dog")
    dog, cat = truth.instances["annotations"]
    assert (dog["bbox"], dog["iscrowd"], dog["category_id"]) == ([4, 2, 20, 10], 0, 2)
    assert (cat["bbox"], cat["iscrowd"]) == ([0, 0, 40, 20], 1)
    (tmp_path / "Annotations" / "a.xml").write_text(VOC[:200])
    with pytest.raises(SearcherError, match="not an annotation as Pascal VOC has it"):
        read(tmp_path)


def test_scenes_of_digits_are_always_the_same():
    one, two = digit_scenes(), digit_scenes()
    assert one.fingerprint == two.fingerprint
    assert one.image == (1, 64, 64)
    boxes = one.train.labels[one.train.labels[..., 0] >= 0][:, 1:]
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    ids = torch.cat([s.ids for s in (one.train, one.validation, one.test)])
    assert len(ids.unique()) == len(ids) == 768


@pytest.mark.slow
def test_real_folders(real_data: Path):
    pedestrians = tasks.entry("pennfudan").load()
    assert [len(s) for s in (pedestrians.train, pedestrians.validation, pedestrians.test)] == [116, 34, 20]
    coco = tasks.entry("coco128").load()
    assert sum(len(s) for s in (coco.train, coco.validation, coco.test)) == 128
    assert coco.classes == 80
