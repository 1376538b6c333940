"""Preparation of images: once, whole after a kill, by one process at a time, in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.prepare import images
from searcher.tasks import prepared
from searcher.tasks.plan import Plan, Source
from searcher.tasks.prepared import ABOUT, IMAGES, PROGRESS, ROWS, prepare
from tests.helpers.folders import picture

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from benchmarks.prepare import images
from searcher.tasks import prepared
from tests.data.test_prepared import plan

real, read = prepared.pixels, []

def pixels(path, *rest):
    read.append(path)
    if len(read) > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path, *rest)

prepared.pixels, prepared.PART_IMAGES = pixels, 10
prepared.prepare(plan(Path(sys.argv[1])))
print(len(read))
"""


def write(folder: Path, count: int = 120) -> None:
    for number in range(count):
        picture(folder / f"{number}.png", number % (count - 20))  # the last ones are the first ones again


def plan(folder: Path) -> Plan:
    sources = [Source(folder / f"{number}.png", number % 3) for number in range(120)]
    parts = {"train": sources[:80], "validation": sources[80:100], "test": sources[100:]}
    return Plan("noise", parts, 3, (8, 8))


def start(folder: Path, most: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(folder), str(most)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def place(cache: Path, folder: Path) -> Path:
    return cache / "prepared" / plan(folder).digest


def test_what_is_prepared_is_read_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path)
    first = prepare(plan(tmp_path))
    assert [len(first.images[part]) for part in ("train", "validation", "test")] == [60, 20, 20]
    assert sum(first.dropped.values()) == 20
    # A training image is where its file was, without the twenty that test has too.
    assert first.labels["train"].tolist() == [number % 3 for number in range(20, 80)]

    def unread(*_):
        raise AssertionError("is read a second time")

    monkeypatch.setattr(prepared, "pixels", unread)
    again = prepare(plan(tmp_path))
    assert all(torch.equal(first.images[part], again.images[part]) for part in first.images)
    assert again.dropped == first.dropped
    assert {path.name for path in place(cache, tmp_path).iterdir()} == {
        "images.npy",
        "labels.npy",
        "prepared.json",
        "lock",
    }


def test_a_changed_file_is_prepared_anew(tmp_path: Path):
    write(tmp_path)
    before = prepare(plan(tmp_path)).images["train"][-1].clone()
    picture(tmp_path / "79.png", 999)
    assert not torch.equal(prepare(plan(tmp_path)).images["train"][-1], before)


def test_a_killed_preparation_goes_on_to_the_same_files(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path)
    whole = place(cache, tmp_path)
    for most in (35, 30):  # killed, and killed again where it went on
        killed = start(tmp_path, most)
        killed.communicate()
        assert killed.returncode == -9
        assert not (whole / ABOUT).exists()
    done = json.loads((whole / PROGRESS).read_text())["done"]
    assert 30 <= done <= 60
    ended = start(tmp_path, 1000)
    assert int(ended.communicate()[0]) == 120 - done
    resumed = {name: (whole / name).read_bytes() for name in (IMAGES, "labels.npy", ABOUT)}
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent / "other"))
    prepare(plan(tmp_path))
    undisturbed = cache.parent / "other" / "searcher" / "prepared" / whole.name
    for name, content in resumed.items():
        assert (undisturbed / name).read_bytes() == content, name


def test_two_processes_at_once_read_each_image_once(tmp_path: Path):
    write(tmp_path)
    both = [start(tmp_path, 1000) for _ in range(2)]
    read = [int(one.communicate()[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(read) == [0, 120]


def test_what_is_damaged_is_made_again(tmp_path: Path, cache: Path):
    write(tmp_path)
    before = prepare(plan(tmp_path)).images["test"].clone()
    (place(cache, tmp_path) / IMAGES).unlink()
    assert torch.equal(prepare(plan(tmp_path)).images["test"], before)


@pytest.mark.parametrize("lost", [IMAGES, ROWS])
def test_a_preparation_that_lost_a_file_begins_anew(tmp_path: Path, cache: Path, lost: str):
    write(tmp_path)
    killed = start(tmp_path, 55)
    killed.communicate()
    assert (place(cache, tmp_path) / PROGRESS).is_file()
    (place(cache, tmp_path) / lost).unlink()
    again = start(tmp_path, 1000)
    assert int(again.communicate()[0]) == 120
    assert len(prepare(plan(tmp_path)).images["train"]) == 60


def test_a_cache_that_cannot_be_written(tmp_path: Path, cache: Path):
    write(tmp_path)
    cache.write_text("a file where the folder would be")
    with pytest.raises(prepared.SearcherError, match="noise cannot be prepared in "):
        prepare(plan(tmp_path))


@pytest.mark.slow
def test_twenty_thousand_images_take_less_memory_than_they_are(tmp_path: Path):
    """245 MB of pixels, in processes that take less than 150 MB and 60 MB of their own."""
    made = [sys.executable, "-m", "benchmarks.prepare", "--measured", str(tmp_path / "images")]
    images(tmp_path / "images", 20_000, 64)
    first, again = (
        json.loads(subprocess.run(made, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for _ in range(2)
    )
    assert first["peak_mb"] < 150
    assert again["peak_mb"] < 60
    assert again["load_s"] < first["load_s"] / 3
