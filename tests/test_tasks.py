import hashlib
import http.server
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from searcher import tasks
from searcher.errors import SearcherError
from searcher.tasks.classification import cifar10
from searcher.tasks.classification.task import Classification, carve


@pytest.fixture(scope="module")
def digits() -> Classification:
    return tasks.entry("digits").load()


@pytest.fixture
def binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the official layout with random pixels, found by SEARCHER_DATA."""
    folder = tmp_path / "data" / cifar10.FOLDER
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records = generator.integers(0, 256, (10_000, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(folder / name)
    monkeypatch.setenv("SEARCHER_DATA", str(tmp_path / "data"))
    return folder


def test_splits_are_disjoint_and_seeded():
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    labels = np.arange(100)
    first, second = carve(images, labels, (60, 40), seed=0)
    assert not set(first.labels.tolist()) & set(second.labels.tolist())
    assert carve(images, labels, (60, 40), seed=0)[0].labels.equal(first.labels)
    assert not carve(images, labels, (60, 40), seed=1)[0].labels.equal(first.labels)


def test_digits_are_all_there_once(digits: Classification):
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [1077, 360, 360]
    assert digits.example().shape == (1, 1, 8, 8)


def test_normalised_training_images_have_mean_0_and_deviation_1(digits: Classification):
    images = digits.normalise(digits.train.images)
    assert abs(float(images.mean())) < 0.05
    assert abs(float(images.std()) - 1) < 0.05


def test_fingerprint_changes_with_one_pixel(digits: Classification):
    images = digits.train.images.clone()
    images[3, 0, 4, 4] += 1
    other = Classification(
        **{**vars(digits), "train": type(digits.train)(images, digits.train.labels)} | {"name": digits.name}
    )
    assert other.fingerprint != digits.fingerprint


def test_augmentation_moves_whole_images(digits: Classification):
    images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 4, 4] = 9
    moved, _ = digits.augment(images, torch.zeros(64), digits.draw(64, torch.Generator().manual_seed(0)))
    assert moved.shape == images.shape
    assert moved.flatten(1).sum(1).eq(9).all()
    places = {tuple(p[1:].tolist()) for p in moved[:, 0].nonzero()}
    assert places == {(y, x) for y in (3, 4, 5) for x in (3, 4, 5)}


def test_mirroring_keeps_the_pixels(digits: Classification):
    mirroring = Classification(
        **{k: v for k, v in vars(digits).items() if k != "fingerprint"} | {"flip": True, "shift": 0}
    )
    images = digits.train.images[:200]
    flipped, _ = mirroring.augment(
        images, digits.train.labels[:200], mirroring.draw(200, torch.Generator().manual_seed(0))
    )
    same = (flipped == images).flatten(1).all(1)
    back = (flipped.flip(3) == images).flatten(1).all(1)
    assert (same | back).all()
    assert 50 < int(same.sum()) < 150


def test_the_official_layout_is_read(binaries: Path):
    task = tasks.entry("cifar10").load()
    assert [len(s) for s in (task.train, task.validation, task.test)] == [45_000, 5_000, 10_000]
    first = np.fromfile(binaries / "test_batch.bin", dtype=np.uint8, count=3073)
    assert int(task.test.labels[0]) == first[0]
    assert (task.test.images[0].numpy().ravel() == first[1:]).all()


def test_a_truncated_file_is_refused(binaries: Path):
    path = binaries / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SearcherError, match=r"data_batch_3.bin: 30,729,999 bytes, expected 30,730,000"):
        tasks.entry("cifar10").load()


def test_a_label_over_9_is_refused(binaries: Path):
    path = binaries / "data_batch_2.bin"
    data = bytearray(path.read_bytes())
    data[3073 * 17] = 12
    path.write_bytes(data)
    with pytest.raises(SearcherError, match="label 12 in record 17, expected 0 to 9"):
        tasks.entry("cifar10").load()


def test_a_missing_file_is_refused(binaries: Path):
    (binaries / "test_batch.bin").unlink()
    with pytest.raises(SearcherError, match=r"test_batch\.bin: No such file"):
        tasks.entry("cifar10").load()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No CIFAR-10 anywhere: an empty working folder and an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEARCHER_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_first_task_with_data_is_chosen_and_said(nowhere: Path):
    name, line = tasks.choose(["cifar10", "digits"])
    assert name == "digits"
    assert "searcher data fetch cifar10" in line
    assert tasks.choose(["digits"]) == ("digits", "")


def test_no_data_at_all(nowhere: Path):
    with pytest.raises(SearcherError, match="get it with: searcher data fetch cifar10"):
        tasks.choose(["cifar10"])
    with pytest.raises(SearcherError, match="get it with: searcher data fetch cifar10"):
        tasks.entry("cifar10").load()


def test_unknown_task():
    with pytest.raises(SearcherError, match=r"no task named 'cifar'; did you mean cifar10\?"):
        tasks.choose(["cifar"])


@pytest.fixture
def archive(nowhere: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address and the checksum of an archive in the official layout, served on loopback."""
    served = tmp_path / "served"
    (served / cifar10.FOLDER).mkdir(parents=True)
    for name in cifar10._FILES:
        (served / cifar10.FOLDER / name).write_bytes(bytes(10_000 * 3073))
    with tarfile.open(served / "cifar.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(served / cifar10.FOLDER, cifar10.FOLDER)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        digest = hashlib.md5((served / "cifar.tar.gz").read_bytes()).hexdigest()
        yield f"http://127.0.0.1:{server.server_port}/cifar.tar.gz", f"md5:{digest}"
        server.shutdown()


def test_fetch_unpacks_where_the_task_looks_and_mends_what_was_cut_short(archive: tuple[str, str]):
    folder = cifar10.fetch(*archive)
    assert cifar10.locate() == folder
    (folder / "test_batch.bin").write_bytes(b"")
    cifar10.fetch(*archive)
    assert len(tasks.entry("cifar10").load().test) == 10_000


def test_fetch_refuses_another_checksum(archive: tuple[str, str]):
    with pytest.raises(SearcherError, match=r"cifar\.tar\.gz"):
        cifar10.fetch(archive[0], "md5:" + "0" * 32)
    assert cifar10.locate() is None
