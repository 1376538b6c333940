"""What data is, by what is found at its path: known images in, the same ones in the task."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from searcher import tasks
from searcher.config.data import Augment, Data
from searcher.errors import SearcherError
from searcher.tasks.classification.task import Classification
from tests.helpers.folders import class_folders, picture

COUNTS = {"cat": 10, "dog": 20}


def loaded(path: Path, **data) -> Classification:
    entry = tasks.entry(str(path), Data(**data) if data else None)
    task = entry.load()
    assert (entry.image, entry.classes, entry.kind) == (task.image, task.classes, type(task))
    return task


def refusal(path: Path, **data) -> str:
    with pytest.raises(SearcherError) as caught:
        loaded(path, **data)
    return str(caught.value)


def pairs(task: Classification) -> set[tuple[bytes, str]]:
    """Every image of a task with its class."""
    splits = (task.train, task.validation, task.test)
    return {
        (image.numpy().tobytes(), task.names[label])
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    }


def on_disk(folder: Path) -> set[tuple[bytes, str]]:
    return {
        (np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes(), path.parent.name)
        for path in folder.rglob("*.png")
    }


def test_class_folders(tmp_path: Path):
    folder = class_folders(tmp_path / "pets", COUNTS)
    task = loaded(folder)
    assert (task.name, task.names, task.image) == ("pets", ("cat", "dog"), (3, 8, 8))
    assert [len(split) for split in (task.train, task.validation, task.test)] == [20, 5, 5]
    assert pairs(task) == on_disk(folder)
    assert len(on_disk(folder)) == 30
    assert (task.shift, task.flip) == (1, True)
    assert any("cat 10, dog 20" in line for line in task.found)


def test_the_mean_and_the_deviation_are_those_of_the_training_images(tmp_path: Path):
    task = loaded(class_folders(tmp_path / "pets", COUNTS))
    shares = task.train.images.double() / 255
    assert task.mean == pytest.approx(shares.mean((0, 2, 3)).tolist(), abs=6e-4)
    assert task.std == pytest.approx(shares.std((0, 2, 3), correction=0).tolist(), abs=6e-4)
    normal = task.normalise(task.train.images)
    assert float(normal.mean().abs()) < 5e-3


def test_class_folders_by_split(tmp_path: Path):
    for place, (split, count) in enumerate({"train": 8, "val": 3, "test": 2}.items()):
        for label, name in enumerate(("a", "b")):
            for number in range(count):
                seed = 1000 * place + 100 * label + number
                picture(tmp_path / "d" / split / name / f"{number}.png", seed)
    task = loaded(tmp_path / "d")
    assert [len(split) for split in (task.train, task.validation, task.test)] == [16, 6, 4]
    assert pairs(task) == on_disk(tmp_path / "d")
    assert "data.test: " in refusal(tmp_path / "d", test=0.1)


def test_data_of_a_study(tmp_path: Path):
    folder = class_folders(tmp_path / "pets", COUNTS)
    task = loaded(
        folder,
        size=(4, 6),
        channels=1,
        mean=(0.25,),
        std=(0.5,),
        classes=("dog", "cat"),
        augment=Augment(shift=3, flip=False),
        validation=0.3,
    )
    assert (task.image, task.mean, task.std) == ((1, 4, 6), (0.25,), (0.5,))
    assert (task.names, task.shift, task.flip) == (("dog", "cat"), 3, False)
    assert len(task.validation) == 9
    assert task.fingerprint != loaded(folder).fingerprint
    prints = {loaded(folder, augment=Augment(shift=shift)).fingerprint for shift in (0, 1)}
    assert len(prints) == 2  # trained networks are stored by it


def test_large_images_are_made_smaller(tmp_path: Path):
    task = loaded(class_folders(tmp_path / "pets", COUNTS, sides=(70, 90)))
    assert task.image == (3, 64, 64)
    assert any("of 70×90; data.size" in line for line in task.found)


def test_grey_images_have_one_channel(tmp_path: Path):
    for number in range(8):
        picture(tmp_path / "d" / "ab"[number % 2] / f"{number}.png", number, channels=1)
    assert loaded(tmp_path / "d").image == (1, 8, 8)
    assert loaded(tmp_path / "d", channels=3).image == (3, 8, 8)


def test_twins_across_splits_are_left_out(tmp_path: Path):
    folder = class_folders(tmp_path / "pets", {"a": 30, "b": 30})
    for path in sorted((folder / "a").iterdir()):
        path.with_stem(f"again-{path.stem}").write_bytes(path.read_bytes())
    task = loaded(folder)
    splits = (task.train, task.validation, task.test)
    digests = [{image.numpy().tobytes() for image in split.images} for split in splits]
    assert not digests[0] & digests[1]
    assert not (digests[0] | digests[1]) & digests[2]
    (count,) = task.dropped.values()
    assert count == 90 - sum(map(len, splits)) > 0


def test_broken_images_are_left_out_and_counted(tmp_path: Path):
    folder = class_folders(tmp_path / "pets", COUNTS)
    whole = (folder / "dog" / "10.png").read_bytes()
    (folder / "dog" / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "empty.png").write_bytes(b"")
    (folder / "cat" / "notes.txt").write_text("a text")
    task = loaded(folder)
    assert task.dropped == {
        "file that is no image by its name": 1,
        "empty file": 1,
        "image that cannot be read": 1,
    }
    assert len(pairs(task)) == 30


def test_a_class_that_loses_all_of_its_images(tmp_path: Path):
    folder = class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"no image")
    assert "class 'dog' has no image that can be used" in refusal(folder)
    assert "5 × image that cannot be read" in refusal(folder)
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"")
    assert "class 'dog' has no image that can be used" in refusal(folder)


def table(path: Path, head: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def test_a_table(tmp_path: Path):
    names = [f"{number}.png" for number in range(20)]
    for number, name in enumerate(names):
        picture(tmp_path / "images" / "cat" / name, number)
    rows = [[f"images/cat/{name}", "cd"[number % 2]] for number, name in enumerate(names)]
    task = loaded(table(tmp_path / "labels.csv", ["Image", "Class"], [*rows, rows[0]]))
    assert task.name == "labels"
    assert task.names == ("c", "d")
    assert {image for image, _ in pairs(task)} == {image for image, _ in on_disk(tmp_path)}
    assert task.dropped == {"image listed twice": 1}
    parts = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
    split = table(
        tmp_path / "split.csv",
        ["path", "label", "split"],
        [[*r, p] for r, p in zip(rows, parts, strict=True)],
    )
    assert [len(part) for part in (loaded(split).train, loaded(split).validation)] == [12, 4]


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        (["path", "kind"], ["a.png", "x"], "no column label or class"),
        (["name", "label"], ["a.png", "x"], "no column path or image"),
        (["path;label"], ["a.png;x"], "divided by semicolons"),
        (["path", "label"], ["b.png", "x"], "1 of 1 files are not there, e.g. "),
        (["path", "label"], ["a.png"], "line 2: 1 cells, expected 2"),
        (["path", "label"], ["a.png", ""], "line 2: no label"),
        (["path", "label", "split"], ["a.png", "x", "dev"], "line 2: split 'dev'"),
        (["path", "label"], [], "no images"),
    ],
)
def test_bad_tables(tmp_path: Path, head, row, said):
    picture(tmp_path / "a.png", 0)
    assert said in refusal(table(tmp_path / "t.csv", head, [row]))


IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 6, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3 * 5


@pytest.mark.parametrize(
    "given",
    [IMAGES, IMAGES.transpose(0, 3, 1, 2), (IMAGES / 255).astype(np.float32)],
    ids=["NHWC", "NCHW", "float"],
)
def test_arrays(tmp_path: Path, given: np.ndarray):
    np.savez(tmp_path / "set.npz", images=given, labels=LABELS)
    task = loaded(tmp_path / "set.npz")
    assert (task.name, task.names, task.image) == ("set", ("0", "5", "10"), (3, 8, 6))
    expected = {
        (image.transpose(2, 0, 1).tobytes(), str(label)) for image, label in zip(IMAGES, LABELS, strict=True)
    }
    assert pairs(task) == expected


def test_arrays_by_split(tmp_path: Path):
    grey, names = IMAGES[..., 0], np.array(["x", "y", "z"])[LABELS // 5]
    np.savez(
        tmp_path / "set.npz",
        x_train=grey[:18],
        y_train=names[:18],
        x_val=grey[18:24],
        y_val=names[18:24],
        x_test=grey[24:],
        y_test=names[24:, None],
    )
    task = loaded(tmp_path / "set.npz")
    assert (task.names, task.image) == (("x", "y", "z"), (1, 8, 6))
    assert [len(split) for split in (task.train, task.validation, task.test)] == [18, 6, 6]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"data": IMAGES, "labels": LABELS}, "no array images; it has data, labels"),
        ({"images": IMAGES, "labels": LABELS[:-1]}, "30 images, 29 labels"),
        ({"images": IMAGES[..., :2], "labels": LABELS}, "shape (30, 8, 6, 2), expected"),
        ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "is of int64"),
        ({"images": IMAGES / 1.0, "labels": LABELS}, "expected 0 to 1 (or uint8)"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "pickled"),
        ({"images": IMAGES, "labels": np.eye(30)}, "expected a number or name an image"),
        ({"images": IMAGES, "labels": LABELS, "x_train": IMAGES}, "mixes layouts"),
        ({"images": IMAGES, "labels": LABELS * 0}, "one class alone"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays, said):
    np.savez(tmp_path / "set.npz", **arrays)
    assert said in refusal(tmp_path / "set.npz")


def test_a_file_that_is_no_npz(tmp_path: Path):
    (tmp_path / "set.npz").write_text("no arrays")
    assert "no .npz file" in refusal(tmp_path / "set.npz")


def empty_class(folder: Path) -> None:
    class_folders(folder, {"cat": 5, "dog": 5, "emu": 0})


def loose(folder: Path) -> None:
    picture(class_folders(folder, COUNTS) / "one.png", 999)


def mixed(folder: Path) -> None:
    class_folders(folder / "train", COUNTS)
    class_folders(folder, {"emu": 3})


def two_names(folder: Path) -> None:
    for name in ("train", "val", "valid"):
        class_folders(folder / name, COUNTS)


def two_formats(folder: Path) -> None:
    class_folders(folder, COUNTS)
    (folder / "instances.json").write_text("{}")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "1.xml").write_text("<annotation/>")


def masks(folder: Path) -> None:
    picture(folder / "images" / "1.png", 0)
    picture(folder / "masks" / "1.png", 1)


def unlabelled(folder: Path) -> None:
    picture(folder / "train" / "1.png", 0)
    picture(folder / "test" / "1.png", 1)


def train_alone(folder: Path) -> None:
    class_folders(folder / "train", COUNTS)
    class_folders(folder / "val", {"cat": 3})


def nested(folder: Path) -> None:
    class_folders(folder / "cat" / "black", COUNTS)
    class_folders(folder, {"dog": 3})


BAD = {
    empty_class: "class 'emu' has no images",
    loose: "images beside class folders, e.g. one.png",
    mixed: "mixes layouts: folders of splits (train) beside emu",
    two_names: "val/ and valid/ are the same split by two names",
    two_formats: "mixes layouts: annotations as COCO has them and annotations as Pascal VOC",
    masks: "masks have colours: of which class is each?",
    unlabelled: "has images and no class folders",
    train_alone: "class 'dog' is in train alone",
    nested: "class 'cat' has no images; it has folders: black",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_folders(tmp_path: Path, make):
    make(tmp_path / "d")
    assert BAD[make] in refusal(tmp_path / "d")


def test_a_path_that_is_not_there(tmp_path: Path):
    class_folders(tmp_path / "photos", COUNTS)
    assert "did you mean photos?" in refusal(tmp_path / "phtos")
    assert "there is no folder" in refusal(tmp_path / "nowhere" / "photos")
    (tmp_path / "empty").mkdir()
    assert "it is empty; looked for" in refusal(tmp_path / "empty")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"augment": Augment(zoom=0.1)}, "data.augment.zoom: "),
        ({"mean": (0.5,)}, "data.mean: 1 number for 3 channels"),
        ({"classes": ("cat", "emu")}, "no images of emu"),
        ({"classes": ("cat", "dog", "emu")}, "no images of emu"),
    ],
)
def test_keys_that_do_not_fit(tmp_path: Path, data, said):
    assert said in refusal(class_folders(tmp_path / "pets", COUNTS), **data)


def test_named_tasks_take_no_data():
    with pytest.raises(SearcherError, match="task digits comes prepared"):
        tasks.entry("digits", Data(size=16))
    assert tasks.entry("pennfudan", Data(size=96)).image == (3, 96, 96)
    with pytest.raises(SearcherError, match=r"data\.seed: task pennfudan does not take it; it takes size"):
        tasks.entry("pennfudan", Data(seed=1))


def test_a_split_reads_what_is_asked_for(tmp_path: Path):
    task = loaded(class_folders(tmp_path / "pets", COUNTS))
    chosen = torch.tensor([3, 1])
    assert torch.equal(task.train.images[chosen][1], task.train.images[1])
    assert task.train.images.is_contiguous()
