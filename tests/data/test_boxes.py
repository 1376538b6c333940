"""Annotated images by their path, in all layouts, small and real."""

import json
from pathlib import Path

import pytest
import torch

from searcher import tasks
from searcher.config.data import Augment, Data
from searcher.errors import SearcherError
from searcher.tasks import sheet
from searcher.tasks.detection.task import Detection
from tests.helpers.folders import picture

VOC = """<annotation><filename>{name}.png</filename><size><width>16</width><height>8</height></size>
<object><name>bar</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>4</ymax></bndbox></object>
</annotation>"""


def coco(first: int, count: int) -> dict[str, object]:
    """As many images of 16×8, each with a box of its upper left quarter."""
    numbers = range(first, first + count)
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 8} for n in numbers],
        "annotations": [{"id": n, "image_id": n, "category_id": 3, "bbox": [0, 0, 8, 4]} for n in numbers],
        "categories": [{"id": 3, "name": "bar"}],
    }


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def one_file(folder: Path) -> None:
    write(folder / "instances.json", coco(0, 20))
    for number in range(20):
        picture(folder / "images" / f"{number}.png", number, (8, 16))


def a_file_a_split(folder: Path) -> None:
    for place, (part, count) in enumerate({"train2017": 14, "val2017": 6}.items()):
        # Their ids are those of the other file's images too.
        write(folder / "annotations" / f"instances_{part}.json", coco(0, count))
        for number in range(count):
            picture(folder / part / f"{number}.png", 100 * place + number, (8, 16))


def pascal(folder: Path) -> None:
    for number in range(20):
        write(folder / "Annotations" / f"{number}.xml", VOC.format(name=number))
        picture(folder / "JPEGImages" / f"{number}.png", number, (8, 16))


@pytest.mark.parametrize(
    ("make", "sizes", "how"),
    [
        (one_file, [14, 3, 3], "15% test and 15% validation drawn, seed 0"),
        (a_file_a_split, [12, 6, 2], "15% test drawn, seed 0"),
        (pascal, [14, 3, 3], "15% test and 15% validation drawn, seed 0"),
    ],
)
def test_layouts(tmp_path: Path, make, sizes: list[int], how: str):
    make(tmp_path / "bars")
    entry = tasks.entry(str(tmp_path / "bars"), Data(size=16))
    task = entry.load()
    assert (entry.image, entry.classes, entry.kind) == ((3, 16, 16), 1, Detection)
    splits = (task.train, task.validation, task.test)
    assert [len(split) for split in splits] == sizes
    assert (task.name, task.names) == ("bars", ("bar",))
    assert any(how in line for line in task.found)
    assert any("20 images, boxes of 1 class: bar 20" in line for line in task.found)
    for split in splits:
        assert torch.equal(split.labels[:, 0], torch.tensor([[0, 0, 0, 0.5, 0.5]]).expand(len(split), 5))
    assert sheet.sheet(task).size == (680, 572)


def test_the_table_changes_boxes(tmp_path: Path):
    one_file(tmp_path / "bars")
    path = str(tmp_path / "bars")
    given = Augment(flip=False, zoom=0.0, light=0.0)
    task = tasks.entry(path, Data(size=8, mean=(0.1, 0.2, 0.3), validation=0.3, augment=given)).load()
    assert (task.mean, task.flip, task.zoom, task.light) == ((0.1, 0.2, 0.3), False, 0.0, 0.0)
    assert not task.augments
    assert len(task.validation) == 6
    other = tasks.entry(path, Data(size=8, seed=1)).load()
    assert other.test.ids.tolist() != tasks.entry(path, Data(size=8)).load().test.ids.tolist()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Data(size=(8, 16)), "images for detection are squares"),
        (Data(classes=("a", "b")), "data.classes: "),
        (Data(augment=Augment(shift=1)), "data.augment.shift: "),
        (Data(mean=(0.5,)), "1 number for 3 channels"),
    ],
)
def test_keys_that_boxes_do_not_take(tmp_path: Path, data: Data, said: str):
    one_file(tmp_path / "bars")
    with pytest.raises(SearcherError, match=said):
        tasks.entry(str(tmp_path / "bars"), data)


def test_a_split_that_is_given_has_no_share(tmp_path: Path):
    a_file_a_split(tmp_path / "bars")
    with pytest.raises(SearcherError, match=r"data\.validation: .* has a validation split of its own"):
        tasks.entry(str(tmp_path / "bars"), Data(size=8, validation=0.2)).load()


def test_a_file_of_no_split(tmp_path: Path):
    a_file_a_split(tmp_path / "bars")
    write(tmp_path / "bars" / "annotations" / "instances_minival.json", coco(0, 2))
    with pytest.raises(SearcherError, match=r"instances_minival\.json: of no split"):
        tasks.entry(str(tmp_path / "bars"), Data(size=8)).load()


@pytest.mark.parametrize(
    ("name", "classes", "images", "boxes"), [("pennfudan", 1, 170, 423), ("coco128", 80, 128, 929)]
)
def test_real_data_by_its_path(real_data: Path, name: str, classes: int, images: int, boxes: int):
    task = tasks.entry(str(real_data / name), Data(size=64)).load()
    splits = (task.train, task.validation, task.test)
    assert (task.name, task.classes, sum(map(len, splits))) == (name, classes, images)
    assert sum(int((split.labels[..., 0] >= 0).sum()) for split in splits) == boxes
    named = tasks.entry(name, Data(size=64)).load()
    for ours, theirs in zip(splits, (named.train, named.validation, named.test), strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)


@pytest.mark.slow
def test_cifar10_as_class_folders_is_cifar10(real_data: Path, tmp_path: Path):
    """The first two thousand test images, saved and read again."""
    from PIL import Image

    known = tasks.entry("cifar10").load().test.first(2000)
    for number, (image, label) in enumerate(zip(known.images, known.labels.tolist(), strict=True)):
        path = tmp_path / "cifar" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(path)
    task = tasks.entry(str(tmp_path / "cifar")).load()
    assert (task.image, task.classes, task.shift, task.flip) == ((3, 32, 32), 10, 4, True)

    def pairs(*splits) -> set[tuple[bytes, int]]:
        return {
            (image.numpy().tobytes(), int(label))
            for split in splits
            for image, label in zip(split.images, split.labels, strict=True)
        }

    assert pairs(task.train, task.validation, task.test) == pairs(known)
