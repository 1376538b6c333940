"""Images and their masks as they lie on the disk: in folders beside each other, or in lists."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from searcher.errors import SearcherError
from searcher.tasks.images import SUFFIXES
from searcher.tasks.splits import NAMES

PAIRS = (
    ("images", "masks"),
    ("images", "labels"),
    ("images", "annotations"),
    ("leftImg8bit", "gtFine"),
)
"""Folders of images, and those of their masks; each may have folders of splits, and further ones in them."""

BESIDE = "annot"
"""What the folder of masks beside a split's folder of images ends in, in CamVid's layout."""

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
ENDINGS = ("_leftImg8bit", "_gtFine_labelTrainIds", "_gtFine_labelIds", "_mask", "_label", "_L")
"""What the names of images and of their masks end in, where they are not the same."""

NO_MASK = "image without a mask"
NO_IMAGE = "mask without an image"
ABSENT = "image that is not there"
ABSENT_MASK = "image whose mask is not there"


class Item(NamedTuple):
    """An image's file, its mask's, and where it is given its split."""

    image: Path
    mask: Path
    split: str = ""


@dataclass
class Listing:
    """Images with masks.

    Attributes:
        layout: What was found, in words.
        items: The images.
        dropped: Counts of files that were left out, by reason.
    """

    layout: str
    items: list[Item] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def there(folder: Path) -> bool:
    """Whether there are masks in a folder, by the names in it."""
    return bool(_lists(folder) or _beside(folder) or _pair(folder))


def listing(folder: Path) -> Listing:
    """The images of a folder with their masks.

    Raises:
        SearcherError: A list names a file twice, or something else than an image and a mask; two images have
            one name; or there are none.
    """
    if lists := _lists(folder):
        found = _listed(folder, lists)
    elif beside := _beside(folder):
        found = Listing(f"images with masks in {folder}: {', '.join(path.name for path in beside)}")
        for images, masks in beside.items():
            _match(images, masks, found, NAMES[images.name.lower()])
    else:
        pair = _pair(folder)
        assert pair is not None
        found = Listing(f"images with masks in {folder}: {pair[0].name}/ and {pair[1].name}/")
        _match(*pair, found)
    if not found.items:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in found.dropped.items())
        raise SearcherError(f"{folder}: no image with a mask" + (f" ({reasons})" if reasons else ""))
    return found


def _lists(folder: Path) -> dict[Path, str]:
    """Lists of images with masks, with their splits: ``train.txt`` with two names in its first line."""
    paths = {folder / f"{name}.txt": part for name, part in NAMES.items()}
    return {path: part for path, part in paths.items() if path.is_file() and len(_first(path)) == 2}


def _first(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return next((line.split() for line in file if line.strip()), [])


def _listed(folder: Path, lists: Mapping[Path, str]) -> Listing:
    found = Listing(f"images with masks, listed in {folder}: {', '.join(path.name for path in lists)}")
    taken: dict[Path, str] = {}
    for path, part in lists.items():
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if not line.strip():
                continue
            names, place = line.split(), f"{path.name}, line {number}"
            if len(names) != 2:
                raise SearcherError(f"{folder / place}: expected an image and a mask, got {line.strip()!r}")
            image, mask = (_resolved(folder, name) for name in names)
            if image in taken:
                raise SearcherError(f"{folder / place}: {names[0]} is listed already, in {taken[image]}")
            taken[image] = place
            if image.is_file() and mask.is_file():
                found.items.append(Item(image, mask, part))
            else:
                found.dropped[ABSENT_MASK if image.is_file() else ABSENT] += 1
    return found


def _resolved(folder: Path, name: str) -> Path:
    """A listed file; of a path of another machine the same folder and file here."""
    path = folder / name
    return path if path.is_file() else folder / Path(*Path(name).parts[-2:])


def _beside(folder: Path) -> dict[Path, Path]:
    """Folders of images by split that have one of masks beside them."""
    every = {one: folder / f"{one.name}{BESIDE}" for one in _folders(folder) if one.name.lower() in NAMES}
    return {images: masks for images, masks in every.items() if masks.is_dir()}


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as found:
        return sorted(Path(one.path) for one in found if one.is_dir())


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks."""
    for images, masks in PAIRS:
        if (folder / images).is_dir() and next(_files(folder / masks, MASK_SUFFIXES), None):
            return folder / images, folder / masks
    return None


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The files of some suffixes in a folder and those in it, hidden ones aside."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield Path(root, name)


def _match(images: Path, masks: Path, found: Listing, split: str = "") -> None:
    """Add the images of a folder whose masks have the same name in another."""
    pictures = _named(images, tuple(SUFFIXES))
    every = _named(masks, MASK_SUFFIXES)
    for name, picture in pictures.items():
        mask = every.pop(name, None)
        if mask is None:
            found.dropped[NO_MASK] += 1
        else:
            head = name.partition("/")[0].lower()
            found.items.append(Item(picture, mask, split or NAMES.get(head, "")))
    found.dropped[NO_IMAGE] += len(every)


def _named(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by path within it, without suffix and ending; of Cityscapes' masks one an image.

    Raises:
        SearcherError: Two have one name.
    """
    named: dict[str, Path] = {}
    for path in _files(folder, suffixes):
        stem = path.stem
        if "_gtFine_" in stem and not stem.endswith(("_labelTrainIds", "_labelIds")):
            continue
        ending = next((one for one in ENDINGS if stem.endswith(one)), "")
        name = (path.relative_to(folder).parent / stem.removesuffix(ending)).as_posix()
        other = named.get(name)
        if other and ending == "_gtFine_labelIds" and other.stem.endswith("_labelTrainIds"):
            continue
        if other and not (ending == "_gtFine_labelTrainIds" and other.stem.endswith("_labelIds")):
            raise SearcherError(f"{folder}: {other.name} and {path.name} are of one name: which one is it?")
        named[name] = path
    return named
