"""Folders of images, as a user has them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def picture(path: Path, seed: int, sides: tuple[int, int] = (8, 8), channels: int = 3) -> Path:
    """An image of noise that no other seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*sides, channels), dtype=np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return path


def class_folders(folder: Path, counts: Mapping[str, int], sides: tuple[int, int] = (8, 8)) -> Path:
    """So many images of noise of each class, ``CLASS/NUMBER.png``."""
    number = sum(1 for _ in folder.rglob("*.png")) * 1000
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            picture(folder / name / f"{number}.png", number, sides)
            number += 1
    return folder


def digits(folder: Path, count: int = 1797) -> Path:
    """The first of scikit-learn's digits as class folders of grey images, their values times 16."""
    data = load_digits()
    for number, (image, label) in enumerate(zip(data.images[:count], data.target[:count], strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 16).clip(0, 255).astype(np.uint8)).save(path)
    return folder
