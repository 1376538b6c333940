"""Images with masks in every layout, with classes by value and by colour, and what is wrong with them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from searcher import tasks
from searcher.config.data import Augment, Data
from searcher.errors import SearcherError
from searcher.tasks import sheet
from searcher.tasks.segmentation.classes import CITYSCAPES
from searcher.tasks.segmentation.confusion import IGNORED
from searcher.tasks.segmentation.task import Segmentation
from tests.conftest import Run as RunCommand
from tests.helpers.folders import picture

SIDES = (6, 8)
COLOURS = [[0, 0, 0], [250, 0, 0], [0, 250, 0], [9, 9, 9]]
CLASSES = {"classes": ["sky", "road", "car", "unlabelled"], "ignore_index": 3}


def values(seed: int, sides: tuple[int, int] = SIDES, most: int = 4) -> np.ndarray:
    return np.random.default_rng(seed + 1000).integers(0, most, sides, dtype=np.uint8)


def mask(path: Path, content: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(content.astype(np.uint8)).save(path)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def flat(folder: Path, count: int = 20) -> None:
    for number in range(count):
        picture(folder / "images" / f"{number:02}.png", number, SIDES)
        mask(folder / "masks" / f"{number:02}.png", values(number))
    write(folder / "classes.json", CLASSES)


def by_split(folder: Path) -> None:
    for number, split in enumerate(["train"] * 14 + ["val"] * 3 + ["test"] * 3):
        picture(folder / "images" / split / f"{number:02}.jpg", number, SIDES)
        mask(folder / "labels" / split / f"{number:02}_mask.png", values(number))
    write(folder / "classes.json", CLASSES)


def camvid(folder: Path) -> None:
    for number, split in enumerate(["train"] * 14 + ["val"] * 3 + ["test"] * 3):
        picture(folder / split / f"{number:02}.png", number, SIDES)
        mask(folder / f"{split}annot" / f"{number:02}.png", values(number))
    write(folder / "classes.json", CLASSES)


def lists(folder: Path) -> None:
    camvid(folder)
    for split in ("train", "val", "test"):
        names = sorted(path.name for path in (folder / split).iterdir())
        # As they were written on another machine.
        write(
            folder / f"{split}.txt", "".join(f"/Net/x/{split}/{n} /Net/x/{split}annot/{n}\n" for n in names)
        )


def coloured(folder: Path) -> None:
    flat(folder)
    for number in range(20):
        mask(folder / "masks" / f"{number:02}.png", np.array(COLOURS)[values(number)])
    write(folder / "classes.json", CLASSES | {"colours": COLOURS})


def palettes(folder: Path) -> None:
    flat(folder)
    for path in (folder / "masks").iterdir():
        indexed = Image.open(path).convert("L")
        indexed.putpalette([value for colour in COLOURS for value in colour])
        indexed.save(path)


GOOD: dict[str, tuple[Callable[[Path], None], list[int]]] = {
    "images and masks": (flat, [14, 3, 3]),
    "by split": (by_split, [14, 3, 3]),
    "CamVid's folders": (camvid, [14, 3, 3]),
    "CamVid's lists": (lists, [14, 3, 3]),
    "in colours": (coloured, [14, 3, 3]),
    "with palettes": (palettes, [14, 3, 3]),
}


def loaded(folder: Path, **data: Any) -> Segmentation:
    entry = tasks.entry(str(folder), Data(**data) if data else None)
    task = entry.load()
    assert isinstance(task, Segmentation)
    assert (entry.image, entry.classes, entry.kind) == (task.image, task.classes, type(task))
    return task


def refusal(folder: Path, **data: Any) -> str:
    with pytest.raises(SearcherError) as caught:
        loaded(folder, **data)
    return str(caught.value)


def every(task: Segmentation) -> set[bytes]:
    """The classes of every image's pixels."""
    return {
        label.numpy().tobytes()
        for split in (task.train, task.validation, task.test)
        for label in split.labels
    }


@pytest.mark.parametrize(("make", "sizes"), GOOD.values(), ids=GOOD)
def test_layouts(tmp_path: Path, make: Callable[[Path], None], sizes: list[int]):
    make(tmp_path / "streets")
    task = loaded(tmp_path / "streets")
    assert (task.name, task.names, task.image) == ("streets", ("sky", "road", "car"), (3, *SIDES))
    assert [len(split) for split in (task.train, task.validation, task.test)] == sizes
    assert every(task) == {np.where(values(n) == 3, IGNORED, values(n)).tobytes() for n in range(20)}
    assert not task.dropped
    assert sheet.sheet(task).size[0] > 100


def test_an_image_keeps_its_mask(tmp_path: Path):
    flat(tmp_path / "d")
    task = loaded(tmp_path / "d")
    known = {
        picture(tmp_path / "one.png", n, SIDES) and np.asarray(Image.open(tmp_path / "one.png")).tobytes(): n
        for n in range(20)
    }
    for image, label in zip(task.train.images, task.train.labels, strict=True):
        number = known[image.permute(1, 2, 0).numpy().tobytes()]
        assert label.numpy().tobytes() == np.where(values(number) == 3, IGNORED, values(number)).tobytes()


@pytest.mark.parametrize("ids", ["labelIds", "labelTrainIds"])
def test_cityscapes(tmp_path: Path, ids: str):
    numbers = list(CITYSCAPES.values())
    for number, (split, city) in enumerate(
        [("train", "ulm")] * 4 + [("val", "bonn")] * 2 + [("test", "kiel")] * 2
    ):
        name = f"{city}_{number:06}_000019"
        picture(tmp_path / "c" / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", number, SIDES)
        content = values(number, most=19)
        stored = np.array(numbers)[content] if ids == "labelIds" else content
        stored[0, 0] = 0 if ids == "labelIds" else 255
        for kind in (ids, "instanceIds", "color"):
            mask(tmp_path / "c" / "gtFine" / split / city / f"{name}_gtFine_{kind}.png", stored)
    task = loaded(tmp_path / "c")
    assert task.names == tuple(CITYSCAPES)
    assert [len(split) for split in (task.train, task.validation, task.test)] == [4, 2, 2]
    expected = [values(number, most=19) for number in range(8)]
    for one in expected:
        one[0, 0] = IGNORED
    assert every(task) == {one.tobytes() for one in expected}


def test_ade20k(tmp_path: Path):
    for number, split in enumerate(["training"] * 10 + ["validation"] * 3):
        picture(tmp_path / "images" / split / f"ADE_{number:08}.jpg", number, (40 + number, 50))
        mask(
            tmp_path / "annotations" / split / f"ADE_{number:08}.png", values(number, (40 + number, 50), 151)
        )
    names = "".join(f"{n}\t0.1\t1\t1\tthing {n // 2}, other\n" for n in range(1, 151))
    write(tmp_path / "objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tName\n" + names)
    task = loaded(tmp_path, size=(16, 24))
    assert (task.classes, task.image) == (150, (3, 16, 24))
    assert len(set(task.names)) == 150
    assert [len(split) for split in (task.train, task.validation, task.test)] == [8, 3, 2]
    assert int(task.train.labels[task.train.labels != IGNORED].max()) < 150
    assert (task.train.labels == IGNORED).any()


def test_masks_are_scaled_as_images_are_and_mix_no_classes(tmp_path: Path):
    for number in range(10):
        content = values(number, (6, 8), 3).repeat(4, 0).repeat(4, 1)
        mask(tmp_path / "images" / f"{number}.png", 80 * content)
        mask(tmp_path / "masks" / f"{number}.png", content)
    task = loaded(tmp_path, size=(12, 12), classes=("a", "b", "c"))
    assert task.image == (1, 12, 12)
    for image, label in zip(task.train.images, task.train.labels, strict=True):
        assert torch.equal((image[0].float() / 80).round()[1::2, 1::2], label.float()[1::2, 1::2])


def test_keys_of_data(tmp_path: Path):
    flat(tmp_path / "d")
    plain = loaded(tmp_path / "d")
    assert (plain.flip, plain.zoom, plain.weights, plain.augments) == (True, (0.5, 2.0), (), True)
    task = loaded(
        tmp_path / "d", classes=("a", "b", "c", "d"), ignore=(1,), balanced=True,
        augment=Augment(flip=False, scale=(1.0, 1.0)), mean=(0.1, 0.2, 0.3), test=0.3,
    )  # fmt: skip
    assert (task.names, task.flip, task.augments, task.mean) == (
        ("a", "c", "d"),
        False,
        False,
        (0.1, 0.2, 0.3),
    )
    assert len(task.test) == 6
    assert len(task.weights) == 3
    assert plain.fingerprint != task.fingerprint
    assert loaded(tmp_path / "d", balanced=True).fingerprint != plain.fingerprint


def test_weights_are_median_frequencies(tmp_path: Path):
    for number in range(9):
        content = np.zeros(SIDES)
        content.flat[: 12 if number else 24] = 1
        picture(tmp_path / "images" / f"{number}.png", number, SIDES)
        mask(tmp_path / "masks" / f"{number}.png", content)
    task = loaded(tmp_path, classes=("most", "some", "none"), balanced=True, seed=1)
    ones = float((task.train.labels == 1).float().mean())
    middle = 0.5
    assert task.weights == pytest.approx((middle / (1 - ones), middle / ones, 0), rel=1e-3)
    assert "in no image for training: none" in task.found


def test_what_is_left_out_is_counted(tmp_path: Path):
    flat(tmp_path, 25)
    mask(tmp_path / "masks" / "00.png", values(0, (6, 9)))
    mask(tmp_path / "masks" / "01.png", values(1) + 7)
    (tmp_path / "masks" / "02.png").unlink()
    (tmp_path / "images" / "03.png").write_bytes(b"no image")
    (tmp_path / "masks" / "04.png").write_bytes(b"no mask")
    (tmp_path / "images" / "05.png").unlink()
    mask(tmp_path / "masks" / "06.png", np.array(COLOURS)[values(6)])
    task = loaded(tmp_path)
    assert task.dropped == {
        "image without a mask": 1,
        "mask without an image": 1,
        "mask of another size than its image": 1,
        "mask with a value that is no class: 7": 1,
        "image that cannot be read": 1,
        "mask that cannot be read": 1,
        "mask in colours, and no colours of classes are given": 1,
    }
    assert sum(map(len, (task.train, task.validation, task.test))) == 18


def test_a_list_may_name_what_is_not_there(tmp_path: Path):
    lists(tmp_path)
    (tmp_path / "train" / "00.png").unlink()
    (tmp_path / "trainannot" / "01.png").unlink()
    assert loaded(tmp_path).dropped == {"image that is not there": 1, "image whose mask is not there": 1}


def listed_twice(folder: Path) -> None:
    lists(folder)
    write(folder / "val.txt", (folder / "val.txt").read_text() + "train/00.png trainannot/00.png\n")


def three_names(folder: Path) -> None:
    lists(folder)
    write(folder / "test.txt", "test/17.png testannot/17.png\ntest/18.png 4 testannot/18.png\n")


def of_one_name(folder: Path) -> None:
    flat(folder)
    picture(folder / "images" / "00.jpg", 0, SIDES)


def no_classes(folder: Path) -> None:
    flat(folder)
    (folder / "classes.json").unlink()


def odd_classes(folder: Path) -> None:
    flat(folder)
    write(folder / "classes.json", CLASSES | {"colours": COLOURS[:2]})


def one_class(folder: Path) -> None:
    flat(folder)
    write(folder / "classes.json", {"classes": ["sky"]})


def no_pairs(folder: Path) -> None:
    flat(folder)
    for path in (folder / "images").iterdir():
        path.rename(path.with_name(f"x{path.name}"))


def other_values(folder: Path) -> None:
    flat(folder)
    for number in range(20):
        mask(folder / "masks" / f"{number:02}.png", values(number) + 40)


def no_images(folder: Path) -> None:
    flat(folder)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")


BAD: dict[Callable[[Path], None], str] = {
    listed_twice: "val.txt, line 4: train/00.png is listed already, in train.txt, line 1",
    three_names: "test.txt, line 2: expected an image and a mask, got 'test/18.png 4 testannot/18.png'",
    of_one_name: "00.jpg and 00.png are of one name",
    no_classes: "masks have the values 0, 1, 2, 3: of which class is each?",
    odd_classes: "classes.json: expected classes",
    one_class: "1 classes of masks, expected 2 to 255",
    no_pairs: "no image with a mask (20 × image without a mask; 20 × mask without an image)",
    other_values: "no images for test (",
    no_images: "no image can be read",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_folders(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "d")
    assert BAD[make] in refusal(tmp_path / "d")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"augment": Augment(zoom=0.1)}, "data.augment.zoom: "),
        ({"mean": (0.5,)}, "data.mean: 1 number for 3 channels"),
    ],
)
def test_keys_that_do_not_fit(tmp_path: Path, data: dict[str, Any], said: str):
    flat(tmp_path / "d")
    assert said in refusal(tmp_path / "d", **data)


def test_an_image_is_in_one_split(tmp_path: Path):
    by_split(tmp_path)
    twin = tmp_path / "images" / "test" / "17.jpg"
    twin.write_bytes((tmp_path / "images" / "train" / "00.jpg").read_bytes())
    task = loaded(tmp_path)
    assert task.dropped == {"image whose pixels another split has under another name": 1}
    assert [len(split) for split in (task.train, task.validation, task.test)] == [13, 3, 3]


def test_a_study_is_checked(place: Path, run_command: RunCommand):
    flat(place / "streets")
    mask(place / "streets" / "masks" / "00.png", values(0, (6, 9)))
    write(
        place / "studies" / "streets.toml",
        'task = "./streets"\nmodel = {name = "swiftnet", args = {width = 0.125, features = 8, grids = [2]}}\n'
        'space = "module"\n[budget]\ntrials = 1\nepochs = 1\n'
        '[[objectives]]\nmetric = "miou"\ngoal = "maximize"\n[[objectives]]\nmetric = "params"\n'
        'goal = "minimize"\n',
    )
    result = run_command("check", "streets")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "images with masks in" in result.stdout
    assert "1 × mask of another size than its image" in result.stdout


@pytest.mark.skipif("SEARCHER_DATA" not in os.environ, reason="no data sets on this machine")
def test_camvid_as_it_is():
    entry = tasks.entry("camvid")
    if not entry.available():
        pytest.skip("no camvid on this machine")
    task = entry.load()
    assert isinstance(task, Segmentation)
    assert (entry.classes, task.names[0], task.names[-1]) == (11, "Sky", "Bicyclist")
    assert [len(split) for split in (task.train, task.validation, task.test)] == [367, 101, 233]
    assert not task.dropped
