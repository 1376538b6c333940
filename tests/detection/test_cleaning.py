"""Annotations that cannot be meant are left out and counted; one image is in one split."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from searcher import tasks
from searcher.compression.build import start
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.config.recipe import Model, Recipe
from searcher.costs.counting.executed import walk
from searcher.errors import SearcherError
from searcher.tasks.detection.annotations import cleaned, labels, read
from searcher.tasks.detection.folders import detection
from searcher.tasks.detection.voc import voc

GOOD = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [4, 2, 20, 10], "area": 200, "iscrowd": 0}


def image(number: Any, file: str | None = None, **changes: Any) -> dict[str, Any]:
    return {"id": number, "file_name": file or f"{number}.png", "width": 40, "height": 20} | changes


def instances(**changes: Any) -> dict[str, Any]:
    return {
        "images": [image(1), image(2)],
        "annotations": [GOOD],
        "categories": [{"id": 5, "name": "bar"}, {"id": 6, "name": "foo"}],
    } | changes


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SOME_ID = st.sampled_from([1, 2, "1", 2.0, 5, 6, "6"]) | ANYTHING
SOME_BOX = st.lists(st.floats() | st.integers(-50, 50), min_size=4, max_size=4) | ANYTHING
SOME_ANNOTATION = st.fixed_dictionaries(
    {},
    optional={
        "image_id": SOME_ID,
        "category_id": SOME_ID,
        "bbox": SOME_BOX,
        "area": ANYTHING,
        "iscrowd": ANYTHING,
    },
)
SOME_SIZE = st.just(40) | ANYTHING
SOME_IMAGE = st.fixed_dictionaries(
    {
        "id": SOME_ID,
        "file_name": st.sampled_from(["1.png", "2.png"]) | ANYTHING,
        "width": ANYTHING | st.just(40),
    },
    optional={"height": st.just(20) | ANYTHING},
)
SOME_CATEGORY = st.fixed_dictionaries(
    {"id": SOME_ID}, optional={"name": ANYTHING | st.sampled_from(["a", " a"])}
)


@given(
    st.lists(SOME_IMAGE | ANYTHING, max_size=4),
    st.lists(SOME_ANNOTATION | ANYTHING, max_size=6),
    st.lists(SOME_CATEGORY | ANYTHING, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_file_holds_is_read_or_refused_and_labels_are_numbers(
    images: list[Any], annotations: list[Any], categories: list[Any]
):
    content = instances(
        images=[image(1), *images],
        annotations=[GOOD, *annotations],
        categories=[{"id": 5, "name": "bar"}, *categories],
    )
    try:
        truth = cleaned(content, "here")
    except SearcherError:
        return
    ids = [one["id"] for one in truth.instances["images"]]
    assert len(set(ids)) == len(ids)
    assert len(set(truth.names)) == len(truth.names) == len(set(truth.categories))
    found = labels(truth, ids)
    assert ((found[..., 1:] >= 0) & (found[..., 1:] <= 1)).all()
    assert (found[..., 0] < len(truth.names)).all()
    for one in truth.instances["annotations"]:
        assert one["image_id"] in ids
        assert all(map(math.isfinite, (*one["bbox"], one["area"])))
        assert min(*one["bbox"][2:], one["area"]) > 0


NAN, INF = math.nan, math.inf
NO_BOX, NO_IMAGE = "box that is not four finite numbers", "annotation of an image that is not listed"
NO_CATEGORY, NO_CROWD = "annotation of an unknown category", "crowd flag that is neither 0 nor 1"
BAD = [
    *(({"bbox": [value, 2, 20, 10]}, NO_BOX) for value in (NAN, INF, -INF, "nan", "left", None, True, [4])),
    *(({"bbox": box}, NO_BOX) for box in ([4, 2, 20], [], None, "4 2 20 10", {"x": 4}, [4, 2, 20, 10, 1])),
    *(({"bbox": [4, 2, NAN, 10]}, NO_BOX), ({"bbox": [1e308, 2, 1e308, 10]}, NO_BOX)),
    *(({"bbox": [4, 2, *extent]}, "box without area") for extent in ((0, 10), (20, 0), (-3, 10), (-1, -1))),
    *(({"bbox": box}, "box outside of its image") for box in ([50, 2, 5, 5], [-9, 2, 9, 5], [4, 20, 5, 5])),
    *(({"image_id": number}, NO_IMAGE) for number in (99, "x", None, 1.5, [1], NAN, True)),
    *(({"category_id": number}, NO_CATEGORY) for number in (7, "bar", None, 5.5, {}, NAN)),
    *(({"iscrowd": flag}, NO_CROWD) for flag in (2, -1, "yes", NAN, [])),
]


@pytest.mark.parametrize(("change", "reason"), BAD, ids=lambda value: str(value)[:30])
def test_what_cannot_be_meant_is_left_out_and_counted(change: dict[str, Any], reason: str):
    truth = cleaned(instances(annotations=[GOOD, GOOD | change]), "here")
    assert truth.dropped == {reason: 1}
    assert [one["bbox"] for one in truth.instances["annotations"]] == [[4, 2, 20, 10]]
    assert labels(truth, [1]).isfinite().all()


@pytest.mark.parametrize("lacking", ["bbox", "image_id", "category_id"])
def test_a_key_that_one_annotation_lacks_is_a_slip_and_one_that_all_lack_another_file(lacking: str):
    slip = {key: value for key, value in GOOD.items() if key != lacking}
    truth = cleaned(instances(annotations=[slip, GOOD, "text", None]), "here")
    assert len(truth.instances["annotations"]) == 1
    assert sum(truth.dropped.values()) == 3
    with pytest.raises(SearcherError, match=f"here: not annotations as COCO has them: no '{lacking}'"):
        cleaned(instances(annotations=[slip]), "here")


@pytest.mark.parametrize("crowd", [1, 1.0, True, "1"])
def test_crowds_are_no_labels_however_they_are_written(crowd: object):
    truth = cleaned(instances(annotations=[GOOD, GOOD | {"iscrowd": crowd}]), "here")
    assert [one["iscrowd"] for one in truth.instances["annotations"]] == [0, 1]
    assert (labels(truth, [1])[0, :, 0] >= 0).sum() == 1


@pytest.mark.parametrize("flag", [0, 0.0, False, None, "0"])
def test_no_crowd_is_a_label_however_it_is_written(flag: object):
    truth = cleaned(instances(annotations=[GOOD | {"iscrowd": flag}]), "here")
    assert (labels(truth, [1])[0, :, 0] >= 0).sum() == 1


@pytest.mark.parametrize(("area", "kept", "counted"), [(150, 150, 0), (None, 200, 0), (0, 200, 0)])
def test_an_area_that_is_given(area: Any, kept: float, counted: int):
    truth = cleaned(instances(annotations=[GOOD | {"area": area}]), "here")
    assert truth.instances["annotations"][0]["area"] == kept
    assert sum(truth.dropped.values()) == counted


@pytest.mark.parametrize("area", [-5, NAN, "large", [1]])
def test_an_area_that_cannot_be_one_is_the_boxs(area: Any):
    truth = cleaned(instances(annotations=[GOOD | {"area": area}]), "here")
    assert truth.instances["annotations"][0]["area"] == 200
    assert truth.dropped == {"area that cannot be one, its box's instead": 1}


def test_an_id_is_the_same_as_a_number_and_as_text():
    content = instances(
        images=[image("1"), image(2.0)],
        annotations=[GOOD, GOOD | {"image_id": "2", "category_id": "5"}, GOOD | {"category_id": 5.0}],
    )
    truth = cleaned(content, "here")
    assert truth.dropped == {}
    assert [one["image_id"] for one in truth.instances["annotations"]] == [1, 2, 1]


def test_ids_may_be_names_and_get_numbers():
    content = instances(
        images=[image("left"), image(7), image("007"), image(10**30)],
        annotations=[GOOD | {"image_id": given} for given in ("left", 7, "007", 10**30)],
        categories=[{"id": "bars", "name": "bar"}],
    )
    for one in content["annotations"]:
        one["category_id"] = "bars"
    truth = cleaned(content, "here")
    ids = [one["id"] for one in truth.instances["images"]]
    assert ids == [8, 7, 9, 10]
    assert [one["image_id"] for one in truth.instances["annotations"]] == ids
    assert truth.dropped == {}
    assert labels(truth, ids)[:, 0, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "change",
    [
        *({"id": value} for value in (None, 1.5)),
        *({"file_name": value} for value in (3, " ")),
        *({"width": value} for value in (0, NAN, 40.5, None)),
        *({"height": value} for value in (-20, "tall")),
    ],
)
def test_an_image_without_an_id_a_name_or_a_size_is_counted(change: dict[str, Any]):
    truth = cleaned(instances(images=[image(1), image(2) | change]), "here")
    assert truth.dropped == {"image without a usable id, name or size": 1}
    assert [one["id"] for one in truth.instances["images"]] == [1]
    with pytest.raises(SearcherError, match="none of the images has an id, a file_name"):
        cleaned(instances(images=[image(1) | change]), "here")


def test_one_id_of_two_files_is_neither():
    truth = cleaned(instances(images=[image(1, "a.png"), image(2), image(1, "b.png")]), "here")
    assert [one["id"] for one in truth.instances["images"]] == [2]
    assert truth.dropped == {"image whose id another one has too": 2, NO_IMAGE: 1}


@pytest.mark.parametrize("other", ["1.png", "./1.png", "x/../1.png"])
def test_one_file_under_two_ids_is_one_image_with_the_annotations_of_both(other: str):
    more = GOOD | {"image_id": 2, "bbox": [1, 1, 5, 5]}
    content = instances(images=[image(1), image(2, other)], annotations=[GOOD, GOOD | {"image_id": 2}, more])
    truth = cleaned(content, "here")
    assert [one["id"] for one in truth.instances["images"]] == [1]
    kept = truth.instances["annotations"]
    assert [(one["image_id"], one["bbox"]) for one in kept] == [(1, [4, 2, 20, 10]), (1, [1, 1, 5, 5])]
    assert truth.dropped == {
        "image listed twice": 1,
        "annotation of an image listed twice, there twice itself": 1,
    }


def test_categories_of_one_name_are_one_class():
    listed = [
        {"id": 1, "name": "a"},
        {"id": 2, "name": " a "},
        {"id": 3, "name": "b"},
        {"id": 1, "name": "a"},
    ]
    content = instances(
        categories=listed, annotations=[GOOD | {"category_id": number} for number in (1, 2, 3)]
    )
    truth = cleaned(content, "here")
    assert truth.names == ("a", "b")
    assert [one["category_id"] for one in truth.instances["annotations"]] == [1, 1, 3]
    assert truth.dropped == {
        "category listed twice": 1,
        "category of the same name as another, taken for it": 1,
    }
    with pytest.raises(SearcherError, match="here: category 1 is both 'a' and 'c'"):
        cleaned(instances(categories=[*listed, {"id": 1, "name": "c"}]), "here")


@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_a_part_that_is_no_list_is_one_clear_error(part: str):
    with pytest.raises(SearcherError, match=f"{part}: expected a list, got dict"):
        cleaned(instances(**{part: {}}), "here")


def annotated(name: str, corners: tuple[Any, ...], hard: str = "0", file: str = "a.jpg") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return (
        f"<annotation><filename>{file}</filename><size><width>40</width><height>20</height></size>"
        f"<object><name>{name}</name><difficult>{hard}</difficult><bndbox>{box}</bndbox></object></annotation>"
    )


def read_voc(folder: Path, *texts: str) -> Any:
    (folder / "Annotations").mkdir()
    for number, text in enumerate(texts):
        (folder / "Annotations" / f"{number}.xml").write_text(text)
    return read(folder)


def test_names_of_voc_lose_their_blanks(tmp_path: Path):
    box = (5, 3, 24, 12)
    texts = [annotated(name, box, file=f"{i}.jpg") for i, name in enumerate(("a", " a ", "\n a\n", "b  c"))]
    assert read_voc(tmp_path, *texts).names == ("a", "b c")


@pytest.mark.parametrize(
    ("name", "corners", "hard", "reason"),
    [
        ("a", (5, 3, 5, 12), "0", "box without area"),
        ("a", (5, 12, 9, 12), "0", "box without area"),
        ("a", (9, 3, 5, 12), "0", "box without area"),
        ("a", ("nan", 3, 24, 12), "0", NO_BOX),
        ("a", ("", 3, 24, 12), "0", NO_BOX),
        ("a", (5, 3, "inf", 12), "0", NO_BOX),
        (" ", (5, 3, 24, 12), "0", NO_CATEGORY),
        ("a", (5, 3, 24, 12), "hard", NO_CROWD),
    ],
)
def test_what_voc_cannot_mean_is_counted(
    tmp_path: Path, name: str, corners: tuple[Any, ...], hard: str, reason: str
):
    truth = read_voc(tmp_path, annotated("a", (5, 3, 24, 12), file="b.jpg"), annotated(name, corners, hard))
    assert truth.dropped == {reason: 1}
    assert [one["bbox"] for one in truth.instances["annotations"]] == [[4, 2, 20, 10]]


def test_two_files_of_voc_on_one_image_are_one_image(tmp_path: Path):
    truth = read_voc(tmp_path, annotated("a", (5, 3, 24, 12)), annotated("b", (1, 1, 9, 9)))
    assert len(truth.instances["images"]) == 1
    assert len(truth.instances["annotations"]) == 2
    assert truth.dropped == {"image listed twice": 1}


def test_voc_of_nothing_has_no_classes(tmp_path: Path):
    assert voc([])["categories"] == []
    with pytest.raises(SearcherError, match="none of the images has an id"):
        read_voc(tmp_path, "<annotation/>")


def scribble(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 40, 3), dtype=np.uint8)).save(path)


def make(folder: Path, count: int = 20, kinds: int = 1) -> dict[str, Any]:
    """A folder of images that differ, with a box each, of so many classes."""
    (folder / "images").mkdir(parents=True)
    for number in range(1, count + 1):
        scribble(folder / "images" / f"{number}.png", number)
    content = {
        "images": [image(number) for number in range(1, count + 1)],
        "annotations": [GOOD | {"image_id": n, "category_id": 1 + n % kinds} for n in range(1, count + 1)],
        "categories": [{"id": 1 + kind, "name": f"kind {kind}"} for kind in range(kinds)],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return content


def files(task: Any) -> list[set[str]]:
    """The names of the files in each split."""
    names = {one["id"]: one["file_name"] for one in task.train.truth.instances["images"]}
    return [{names[int(i)] for i in split.ids} for split in (task.train, task.validation, task.test)]


def test_every_image_is_in_one_split_whatever_is_listed_how_often(tmp_path: Path):
    content = make(tmp_path)
    content["images"] += [image(100 + number, f"{number}.png") for number in range(1, 21)]
    content["images"] += [image(number) for number in range(1, 21)]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    task = detection(tmp_path, "bars", 16)
    every = [name for split in files(task) for name in split]
    assert sorted(every) == sorted({f"{number}.png" for number in range(1, 21)})
    assert task.dropped == {"image listed twice": 40}


def test_a_file_that_two_given_splits_have_under_two_ids_stays_in_the_last(tmp_path: Path):
    content = make(tmp_path)
    content["images"].append(image(100, "1.png"))
    (tmp_path / "instances.json").write_text(json.dumps(content))
    split = {"train": list(range(1, 15)), "val": [15, 16, 17, 100], "test": [18, 19, 20]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    task = detection(tmp_path, "bars", 16)
    train, validation, _ = files(task)
    assert "1.png" in validation
    assert "1.png" not in train
    assert task.dropped["image that another split has under another id"] == 1


def test_the_same_pixels_under_two_names_are_in_one_split(tmp_path: Path):
    make(tmp_path)
    split = {"train": list(range(1, 15)), "val": [15, 16, 17], "test": [18, 19, 20]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    scribble(tmp_path / "images" / "1.png", 18)
    scribble(tmp_path / "images" / "15.png", 19)
    scribble(tmp_path / "images" / "2.png", 3)  # a copy in its own split harms nothing
    task = detection(tmp_path, "bars", 16)
    assert [len(names) for names in files(task)] == [13, 2, 3]
    assert task.dropped == {"image whose pixels another split has under another name": 2}


def test_images_that_are_all_alike_stay_and_are_said(tmp_path: Path):
    make(tmp_path)
    for number in range(1, 21):
        scribble(tmp_path / "images" / f"{number}.png", 0)
    task = detection(tmp_path, "bars", 16)
    assert [len(names) for names in files(task)] == [14, 3, 3]
    assert task.dropped == {"image whose pixels another split has too; they were left": 17}


def test_splits_may_name_images_by_text_and_no_other_split(tmp_path: Path):
    make(tmp_path)
    split = {"train": [str(i) for i in range(1, 15)], "validation": ["15", 16.0], "test": [18]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert [len(names) for names in files(detection(tmp_path, "bars", 16))] == [14, 2, 1]
    (tmp_path / "split.json").write_text(json.dumps({"train": [1, 2], "valid": [3]}))
    with pytest.raises(SearcherError, match=r"no split in .*split\.json named 'valid'; did you mean valid"):
        detection(tmp_path, "bars", 16)
    (tmp_path / "split.json").write_text(json.dumps({"train": [1, None]}))
    with pytest.raises(SearcherError, match=r"expected lists of image ids: None is no id"):
        detection(tmp_path, "bars", 16)


@pytest.mark.parametrize("kinds", [1, 3, 25])
@pytest.mark.parametrize("name", ["voc", "coco128", "pennfudan"])
def test_the_data_says_how_many_classes_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kinds: int
):
    monkeypatch.setenv("SEARCHER_DATA", str(tmp_path))
    make(tmp_path / name, kinds=kinds)
    entry = tasks.entry(name)
    task = entry.load()
    assert (entry.classes, entry.image) == (task.classes, task.image)
    assert entry.classes == kinds


def test_a_data_set_that_is_not_here_has_the_classes_of_its_name(nowhere: Path):
    assert [tasks.entry(name).classes for name in ("voc", "coco128", "pennfudan")] == [20, 80, 1]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEARCHER_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_what_is_predicted_by_a_tasks_entry_is_what_is_built_for_its_data(nowhere: Path):
    make(nowhere / "data" / "voc", kinds=3)
    entry = tasks.entry("voc")
    recipe = Recipe(model=Model(name="ssd_mobilenet_v1", args={"width": 0.25, "extras": 2}), stages=())
    network = start(recipe.model, entry.load()).eval()
    counted = walk(network, network, entry.load().example())
    predicted = predict(recipe, entry.image, entry.classes).ops
    assert predicted is not None
    reconcile(predicted, counted, recipe)
    assert 6 * (5 + 3) in {op.output[1] for op in counted}
