"""A user's own data at a path: what it is, by what is found there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from searcher.config.data import SUFFIXES, Data, short
from searcher.errors import SearcherError, nearest
from searcher.tasks.classification import arrays, class_folders, listed, table
from searcher.tasks.classification.class_folders import folders, images
from searcher.tasks.classification.listed import check_figures
from searcher.tasks.detection import own as boxes
from searcher.tasks.detection.annotations import INSTANCES
from searcher.tasks.detection.parts import files
from searcher.tasks.entries import Entry
from searcher.tasks.segmentation import own as masks
from searcher.tasks.segmentation.listing import there
from searcher.tasks.splits import NAMES

_OF_IMAGES = ("size", "mean", "std", "channels", "validation", "test", "seed", "classes")

OF_CLASSES = (
    *_OF_IMAGES,
    "augment.flip",
    "augment.shift",
)
"""Keys of `[data]` that files of classes take."""

OF_BOXES = (
    "size",
    "mean",
    "std",
    "validation",
    "test",
    "seed",
    "augment.flip",
    "augment.zoom",
    "augment.light",
)
"""Keys of `[data]` that annotated images take."""

OF_MASKS = (
    *_OF_IMAGES,
    "ignore",
    "balanced",
    "augment.flip",
    "augment.scale",
)
"""Keys of `[data]` that images with masks take."""

LOOKED_FOR = """class folders (CLASS/*.jpg, or train/, val/, test/ of them)
  COCO (instances.json with images/, or annotations/instances_*.json)
  Pascal VOC (Annotations/*.xml with JPEGImages/ or images/)
  masks (images/ with masks/, train/ with trainannot/, train.txt of both, Cityscapes, ADE20K)"""


def entry(task: str, data: Data) -> Entry:
    """The task of the data at a path.

    Raises:
        SearcherError: There is nothing, or nothing that is known; or a key of `[data]` is none of its kind.
    """
    path = Path(task).expanduser()
    kind = kind_of(path)
    return replace(_KINDS[kind](path, short(task), data), how="it is your own")


def kind_of(path: Path) -> str:
    """What data is, by what is found at its path: a key of `_KINDS`.

    Raises:
        SearcherError: There is nothing at the path, or it is none of the layouts that are known, or several.
    """
    if not path.exists():
        raise SearcherError(f"no data at {path}{_near(path)}")
    if path.is_file():
        if path.suffix.lower() in SUFFIXES:
            return path.suffix.lower()[1:]
        raise SearcherError(
            f"{path}: a file, expected {' or '.join(SUFFIXES)}, or a folder with:\n  {LOOKED_FOR}"
        )
    found = [kind for kind, there in _SIGNS.items() if there(path)]
    if len(found) > 1 and found[-1] == "masks":
        found.pop()  # Boxes of the same images beside them are what is trained on.
    if len(found) > 1:
        raise SearcherError(f"{path} mixes layouts: {' and '.join(_WORDS[kind] for kind in found)}")
    if found:
        return found[0]
    inner = folders(path)
    parts = [one for one in inner if one.name.lower() in NAMES and images(one) and not folders(one)]
    if len({NAMES[one.name.lower()] for one in parts}) > 1:
        raise SearcherError(
            f"{path}: {parts[0].name}/ has images and no class folders: of which class are they? Expected "
            f"{parts[0].name}/CLASS/*.jpg, annotations of boxes, or masks in {parts[0].name}annot/"
        )
    if any(one.name.lower() in NAMES and folders(one) for one in inner):
        return "splits"
    if any(images(one) or not any(one.iterdir()) for one in inner):
        return "classes"
    names = ", ".join(one.name for one in sorted(path.iterdir())[:5])
    there = f"it has {names}" if names else "it is empty"
    raise SearcherError(f"{path} is no data that is known: {there}; looked for\n  {LOOKED_FOR}")


def _near(path: Path) -> str:
    """The names beside a path that is not there."""
    parent = path.absolute().parent
    if not parent.is_dir():
        return f": there is no folder {parent}"
    beside = [one.name for one in parent.iterdir() if not one.name.startswith(".")]
    return nearest(path.name, beside) if len(beside) <= 1000 else ""


def refuse_keys(data: Data, taken: Sequence[str], where: str) -> None:
    """Refuse keys of `[data]` that this data does not take.

    Raises:
        SearcherError: There is one.
    """
    odd = [key for key in data.given() if key not in taken]
    if odd:
        raise SearcherError(f"data.{odd[0]}: {where} does not take it; it takes {', '.join(taken)}")


def square_side(data: Data) -> int | None:
    """The side of square images, where it is given.

    Raises:
        SearcherError: Height and width differ.
    """
    if data.sides and data.sides[0] != data.sides[1]:
        raise SearcherError(
            f"data.size: images for detection are squares, got {data.sides[0]}×{data.sides[1]}"
        )
    return data.sides[0] if data.sides else None


def _class_folders(path: Path, name: str, data: Data) -> Entry:
    refuse_keys(data, OF_CLASSES, f"{path} (class folders)")
    return listed.entry(name, class_folders.listing(path, by_split=False), data)


def _split_folders(path: Path, name: str, data: Data) -> Entry:
    refuse_keys(data, OF_CLASSES, f"{path} (class folders by split)")
    return listed.entry(name, class_folders.listing(path, by_split=True), data)


def _table(path: Path, name: str, data: Data) -> Entry:
    refuse_keys(data, OF_CLASSES, f"{path} (a table)")
    return listed.entry(name, table.listing(path), data)


def _arrays(path: Path, name: str, data: Data) -> Entry:
    taken = [key for key in OF_CLASSES if key not in ("size", "channels")]
    refuse_keys(data, taken, f"{path} (arrays, of the size that they have)")
    return arrays.entry(path, name, data)


def _annotated(layout: str) -> Callable[[Path, str, Data], Entry]:
    def annotated(path: Path, name: str, data: Data) -> Entry:
        refuse_keys(data, OF_BOXES, f"{path} ({layout})")
        check_figures(data, 3)
        return boxes.entry(path, name, f"{layout} in {path}", square_side(data), data)

    return annotated


def _masked(path: Path, name: str, data: Data) -> Entry:
    refuse_keys(data, OF_MASKS, f"{path} ({_WORDS['masks']})")
    return masks.entry(path, name, data)


_SIGNS: dict[str, Callable[[Path], bool]] = {
    "coco": lambda path: (path / INSTANCES).is_file() or bool(files(path)),
    "voc": lambda path: any((path / "Annotations").glob("*.xml")),
    "masks": there,
}
_WORDS = {
    "coco": "annotations as COCO has them",
    "voc": "annotations as Pascal VOC has them",
    "masks": "images with masks",
}
_KINDS: dict[str, Callable[[Path, str, Data], Entry]] = {
    "classes": _class_folders,
    "splits": _split_folders,
    "coco": _annotated(_WORDS["coco"]),
    "voc": _annotated(_WORDS["voc"]),
    "masks": _masked,
    "csv": _table,
    "npz": _arrays,
}
