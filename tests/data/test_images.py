"""One image file as pixels: known ones in, known ones out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from searcher.tasks.images import Look, Unusable, look, pixels

RAMP = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10


def saved(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_an_image_of_the_size_keeps_its_pixels(tmp_path: Path):
    found, remarks = pixels(saved(tmp_path / "a.png", RAMP), 3, (2, 4))
    assert np.array_equal(found, RAMP.transpose(2, 0, 1))
    assert remarks == []


def test_the_middle_is_taken_where_the_shape_is_another(tmp_path: Path):
    found, _ = pixels(saved(tmp_path / "a.png", RAMP), 3, (2, 2))
    assert np.array_equal(found, RAMP[:, 1:3].transpose(2, 0, 1))


def test_smaller_is_averaged(tmp_path: Path):
    stripes = np.tile(np.array([[0, 200], [0, 200]], dtype=np.uint8), (32, 32))
    found, _ = pixels(saved(tmp_path / "a.png", stripes), 1, (4, 4))
    assert found.shape == (1, 4, 4)
    assert np.abs(found.astype(int) - 100).max() <= 4  # without antialiasing they would be 0 or 200


def test_exif_turns(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    path = saved(tmp_path / "a.png", RAMP, exif=exif)
    assert look(path) == Look((4, 2), grey=False)
    found, _ = pixels(path, 3, (4, 2))
    assert np.array_equal(found, np.rot90(RAMP, -1).transpose(2, 0, 1))


def test_sixteen_bits_keep_their_high_byte(tmp_path: Path):
    path = saved(tmp_path / "a.png", np.array([[0, 256, 65535]], dtype=np.uint16))
    found, _ = pixels(path, 1, (1, 3))
    assert found.tolist() == [[[0, 1, 255]]]


def test_what_is_transparent_is_white_and_said(tmp_path: Path):
    image = np.zeros((1, 2, 4), dtype=np.uint8)
    image[0, 0, 3] = 255
    found, remarks = pixels(saved(tmp_path / "a.png", image), 3, (1, 2))
    assert found[:, 0].tolist() == [[0, 255]] * 3
    assert remarks == ["transparent image, laid on white"]


def test_values_of_an_unknown_range(tmp_path: Path):
    path = saved(tmp_path / "a.tif", np.ones((2, 2), dtype=np.float32))
    with pytest.raises(Unusable, match="range is not known"):
        pixels(path, 1, (2, 2))


def test_what_is_no_image_has_no_look(tmp_path: Path):
    (tmp_path / "a.png").write_text("no image")
    assert look(tmp_path / "a.png") is None
