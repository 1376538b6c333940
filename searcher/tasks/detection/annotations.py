"""Folders of annotated images: `images/` and `instances.json` as COCO has them, or Pascal VOC's XML files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from searcher.errors import SearcherError
from searcher.tasks.detection import cleaning, parts
from searcher.tasks.detection.coco_eval import Truth
from searcher.tasks.detection.pictures import square
from searcher.tasks.detection.task import Scenes
from searcher.tasks.detection.voc import voc
from searcher.tasks.images import Unusable

INSTANCES = "instances.json"
ABSENT = "image that is not there"
PARTS = ("images", "categories", "annotations")


def read(folder: Path) -> Truth:
    """The annotations of a folder: `instances.json`, `annotations/instances_*.json`, or VOC's `Annotations/`.

    Left out, and counted by reason: an annotation of an image or of a category that is not listed, with a box
    that is not four finite numbers, without area or wholly outside of its image; an image without an id, a
    name or a size. A box that is partly outside is clipped. One file under two ids is one image with the
    annotations of both; categories of one name are one class.

    Raises:
        SearcherError: There are no annotations, or they are not in this form.
    """
    if (folder / INSTANCES).is_file():
        return cleaned(_json(folder / INSTANCES), str(folder / INSTANCES))
    if several := parts.files(folder):
        whole = parts.merged(folder, {path: _json(path) for path in several})
        return cleaned(whole, str(folder / "annotations"))
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise SearcherError(
            f"{folder}: neither {INSTANCES} nor annotations/instances_*.json nor Annotations/*.xml"
        )
    return cleaned(voc(files), str(folder / "Annotations"))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise SearcherError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SearcherError(f"{path}: expected an object with images, annotations and categories")
    return content


def cleaned(instances: dict[str, Any], where: str) -> Truth:
    """Annotations without those that cannot be meant, which are counted by reason.

    Raises:
        SearcherError: A part is missing or has not the form of COCO's.
    """
    listed, categories, annotations = (_part(instances, part, where) for part in PARTS)
    _check_form(annotations, where)
    dropped: Counter[str] = Counter()
    images, numbers, merged = cleaning.images(listed, dropped)
    if listed and not images:
        raise SearcherError(f"{where}: none of the images has an id, a file_name, a width and a height")
    kinds, kind_numbers = cleaning.categories(categories, dropped, where)
    if not kinds:
        raise SearcherError(f"{where}: no categories")
    kept = cleaning.Annotations(images, numbers, kind_numbers, merged, dropped).kept(annotations)
    content = {"info": instances.get("info", {}), "images": images, "annotations": kept, "categories": kinds}
    return Truth(content, {reason: count for reason, count in dropped.items() if count}, numbers)


def _part(instances: dict[str, Any], part: str, where: str) -> list[Any]:
    if part not in instances:
        raise SearcherError(f"{where}: not annotations as COCO has them: no {part!r}")
    if not isinstance(instances[part], list):
        kind = type(instances[part]).__name__
        raise SearcherError(f"{where}: not annotations as COCO has them: {part}: expected a list, got {kind}")
    return list(instances[part])


def _check_form(annotations: Sequence[Any], where: str) -> None:
    """Refuse a file of something else: captions, masks. A key that one annotation lacks is a slip."""
    for name in ("bbox", "image_id", "category_id"):
        if annotations and not any(isinstance(one, dict) and name in one for one in annotations):
            raise SearcherError(f"{where}: not annotations as COCO has them: no {name!r}")


def scenes(folder: Path, truth: Truth, ids: Sequence[int], side: int) -> tuple[Scenes, dict[str, int]]:
    """The images of a folder, stretched to squares, and what could not be read, by reason.

    Raises:
        SearcherError: None of the images can be read.
    """
    names = {image["id"]: image["file_name"] for image in truth.instances["images"]}
    kept, pixels = [], []
    dropped: Counter[str] = Counter()
    for number in ids:
        path = file(folder, names[number]) or folder / "images" / names[number]
        found = _picture(path, side, truth.sizes[number], dropped)
        if found is not None:
            kept.append(number)
            pixels.append(found)
    if not kept:
        raise SearcherError(f"{folder / 'images'}: none of the {len(ids)} images can be read{_why(dropped)}")
    return Scenes(torch.from_numpy(np.stack(pixels)), labels(truth, kept), torch.tensor(kept), truth), dropped


def file(folder: Path, name: str) -> Path | None:
    """The file of an image in a folder of annotated ones; None where it is not there."""
    places = (folder / place / name for place in ("images", "JPEGImages", ""))
    return next((place for place in places if place.is_file()), None)


def _picture(path: Path, side: int, sizes: tuple[int, int], dropped: Counter[str]) -> np.ndarray | None:
    try:
        found, remarks = square(path, side, sizes)
    except FileNotFoundError:
        dropped[ABSENT] += 1
    except Unusable as reason:
        dropped[str(reason)] += 1
    except Exception:  # Pillow raises all kinds of them at damaged files
        dropped["image that cannot be read"] += 1
    else:
        dropped.update(remarks)
        return found
    return None


def _why(dropped: Mapping[str, int]) -> str:
    return "".join(f"; {count} × {reason}" for reason, count in dropped.items())


def labels(truth: Truth, ids: Sequence[int]) -> torch.Tensor:
    """The objects of images that a training learns, (N, M, 5): no crowds."""
    classes = {category: place for place, category in enumerate(truth.categories)}
    objects: dict[int, list[list[float]]] = {number: [] for number in ids}
    sizes = truth.sizes
    for one in truth.instances["annotations"]:
        if one["image_id"] in objects and not one["iscrowd"]:
            width, height = sizes[one["image_id"]]
            x, y, w, h = one["bbox"]
            box = [x / width, y / height, (x + w) / width, (y + h) / height]
            objects[one["image_id"]].append([classes[one["category_id"]], *box])
    most = max([1, *(len(found) for found in objects.values())])
    table = torch.full((len(ids), most, 5), -1.0)
    for row, number in enumerate(ids):
        if objects[number]:
            table[row, : len(objects[number])] = torch.tensor(objects[number])
    table[..., 1:] = torch.where(table[..., :1] < 0, 0.0, table[..., 1:].clamp(0, 1))
    return table
