"""Folders of annotated images: `images/` and `instances.json` as COCO has them, or Pascal VOC's XML files."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from searcher.errors import SearcherError
from searcher.tasks.average_precision import Truth
from searcher.tasks.detection import Scenes

INSTANCES = "instances.json"
_TOLERANCE = 1.0
"""Pixels by which a box may lie beyond its image: annotators round."""


def read(folder: Path) -> Truth:
    """The annotations of a folder with `instances.json`, or with VOC's `Annotations/*.xml`.

    Left out, and counted: annotations of an image that is not listed, of a category that is not, without
    area, or wholly outside of their image; a box that is partly outside is clipped.

    Raises:
        SearcherError: There are no annotations, or they are not in this form.
    """
    if (folder / INSTANCES).is_file():
        return cleaned(_json(folder / INSTANCES), str(folder / INSTANCES))
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise SearcherError(f"{folder}: neither {INSTANCES} nor Annotations/*.xml")
    return cleaned(voc(files), str(folder / "Annotations"))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SearcherError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SearcherError(f"{path}: expected an object with images, annotations and categories")
    return content


def voc(files: Iterable[Path]) -> dict[str, Any]:
    """Pascal VOC's XML files in COCO's form; classes in alphabetical order, `difficult` ones as crowds.

    VOC counts pixels from 1 and includes a box's last row and column.

    Raises:
        SearcherError: A file is not such XML.
    """
    images, objects = [], []
    for number, path in enumerate(files, 1):
        try:
            root = ElementTree.parse(path).getroot()
            width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
            name = root.findtext("filename") or f"{path.stem}.jpg"
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for one in root.iter("object"):
                corners = [float(one.findtext(f"bndbox/{k}", "")) for k in ("xmin", "ymin", "xmax", "ymax")]
                hard = int(one.findtext("difficult") or 0)
                objects.append((number, one.findtext("name") or "", corners, hard))
        except (ElementTree.ParseError, ValueError, OSError) as error:
            raise SearcherError(f"{path}: not an annotation as Pascal VOC has it: {error}") from error
    names = sorted({name for _, name, _, _ in objects})
    annotations = []
    for number, (image, name, (x1, y1, x2, y2), hard) in enumerate(objects, 1):
        box = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": names.index(name) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": hard,
            }
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def cleaned(instances: dict[str, Any], where: str) -> Truth:
    """Annotations without those that cannot be meant, which are counted by reason.

    Raises:
        SearcherError: A part is missing or has not the form of COCO's.
    """
    dropped: Counter[str] = Counter()
    try:
        sizes = {image["id"]: (image["width"], image["height"]) for image in instances["images"]}
        categories = {category["id"] for category in instances["categories"]}
        kept = []
        for one in instances["annotations"]:
            x, y, width, height = (float(value) for value in one["bbox"])
            if one["image_id"] not in sizes:
                dropped["annotation of an image that is not listed"] += 1
            elif one["category_id"] not in categories:
                dropped["annotation of an unknown category"] += 1
            elif width <= 0 or height <= 0:
                dropped["box without area"] += 1
            else:
                right, bottom = sizes[one["image_id"]]
                box = [max(x, 0.0), max(y, 0.0), min(x + width, right), min(y + height, bottom)]
                if box[2] <= box[0] or box[3] <= box[1]:
                    dropped["box outside of its image"] += 1
                    continue
                beyond = max(-x, -y, x + width - right, y + height - bottom) > _TOLERANCE
                dropped["box clipped to its image"] += beyond
                if beyond:
                    x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
                area = float(one.get("area") or width * height)
                kept.append(
                    {**one, "bbox": [x, y, width, height], "area": area, "iscrowd": one.get("iscrowd", 0)}
                )
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SearcherError(f"{where}: not annotations as COCO has them: {reason}") from error
    if not categories:
        raise SearcherError(f"{where}: no categories")
    listed = {
        "info": instances.get("info", {}),
        "images": list(instances["images"]),
        "annotations": [{**one, "id": number} for number, one in enumerate(kept, 1)],
        "categories": list(instances["categories"]),
    }
    return Truth(listed, {reason: count for reason, count in dropped.items() if count})


def scenes(folder: Path, truth: Truth, ids: Sequence[int], side: int) -> tuple[Scenes, dict[str, int]]:
    """The images of a folder, stretched to squares, and what could not be read, by reason.

    Raises:
        SearcherError: None of the images can be read.
    """
    from PIL import Image

    names = {image["id"]: image["file_name"] for image in truth.instances["images"]}
    kept, pixels = [], []
    dropped: Counter[str] = Counter()
    for number in ids:
        path = folder / "images" / names[number]
        if not path.is_file():
            path = folder / "JPEGImages" / names[number]
        try:
            with Image.open(path) as image:
                square = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        except FileNotFoundError:
            dropped["image that is not there"] += 1
        except (OSError, SyntaxError, ValueError):
            dropped["image that cannot be read"] += 1
        else:
            kept.append(number)
            pixels.append(np.asarray(square).transpose(2, 0, 1))
    if not kept:
        raise SearcherError(f"{folder / 'images'}: none of the {len(ids)} images can be read")
    return Scenes(torch.from_numpy(np.stack(pixels)), labels(truth, kept), torch.tensor(kept), truth), dropped


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
