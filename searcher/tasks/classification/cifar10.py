"""CIFAR-10 (Krizhevsky 2009) in its official binary layout: a label byte, then 3,072 pixels in CHW order."""

import tarfile
from pathlib import Path

import numpy as np
import pooch

from searcher.errors import SearcherError
from searcher.tasks import locations
from searcher.tasks.classification.task import Classification, as_split, carve

FOLDER = "cifar-10-batches-bin"
FETCH = "searcher data fetch cifar10"
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MD5 = "md5:c32a1d4ab5d03f1284b67883e8d87530"
_RECORD = 1 + 3 * 32 * 32
_IMAGES = 10_000
_FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def locate() -> Path | None:
    """The folder with the binary files; None where it is not on this machine."""
    return locations.find(FOLDER)


def cifar10() -> Classification:
    """45,000 training, 5,000 validation and the official 10,000 test images, (3, 32, 32).

    The normalisation is the one that published CIFAR-10 checkpoints most often expect.

    Raises:
        SearcherError: The data is absent, truncated, or has a label over 9.
    """
    folder = locate()
    if folder is None:
        raise SearcherError(
            f"no {FOLDER} in $SEARCHER_DATA, ./data or {locations.cache()}; get it with: {FETCH}"
        )
    parts = [_read(folder / name) for name in _FILES]
    images = np.concatenate([images for images, _ in parts[:5]])
    labels = np.concatenate([labels for _, labels in parts[:5]])
    train, validation = carve(images, labels, (45_000, 5_000), seed=0)
    return Classification(
        name="cifar10",
        classes=10,
        train=train,
        validation=validation,
        test=as_split(*parts[5]),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        scale=255.0,
        shift=4,
        flip=True,
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise SearcherError(f"{path}: {error.strerror}") from error
    if data.size != _IMAGES * _RECORD:
        raise SearcherError(
            f"{path}: {data.size:,} bytes, expected {_IMAGES * _RECORD:,}: truncated, or not CIFAR-10"
        )
    records = data.reshape(_IMAGES, _RECORD)
    labels = records[:, 0]
    if labels.max() > 9:
        raise SearcherError(f"{path}: label {labels.max()} in record {labels.argmax()}, expected 0 to 9")
    return records[:, 1:].reshape(_IMAGES, 3, 32, 32), labels


def fetch(url: str = _URL, known_hash: str = _MD5) -> Path:
    """Download the binary version into the user's cache, check it and unpack it.

    Raises:
        SearcherError: The download failed, its checksum is another one, or a file in it is damaged.
    """
    try:
        archive = pooch.retrieve(
            url, known_hash, fname="cifar-10-binary.tar.gz", path=locations.cache(), progressbar=True
        )
        with tarfile.open(archive) as tar:
            tar.extractall(locations.cache(), filter="data")
    except (OSError, tarfile.TarError) as error:
        instead = f"or put {FOLDER} into ./data or $SEARCHER_DATA by hand"
        raise SearcherError(f"{url}: {type(error).__name__}; try again, {instead}") from error
    except ValueError as error:  # pooch's word for another checksum
        raise SearcherError(f"{url}: {error}") from error
    for name in _FILES:
        _read(locations.cache() / FOLDER / name)
    return locations.cache() / FOLDER
