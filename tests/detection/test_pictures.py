"""How one image file is read: turned, scaled, laid on white; or left out with its reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from searcher.tasks.detection.annotations import read, scenes
from searcher.tasks.detection.folders import detection
from searcher.tasks.detection.pictures import square
from searcher.tasks.images import Unusable

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a scene is stored so that each EXIF orientation shows it upright again."""


def scene() -> Image.Image:
    """20 wide and 40 high, white in a box at (0, 0, 20, 20)."""
    pixels = np.zeros((40, 20, 3), dtype=np.uint8)
    pixels[:20] = 255
    return Image.fromarray(pixels)


def stored(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    scene().transpose(TURNED[orientation]).save(path, exif=exif)
    return path


def instances(file: str, width: int, height: int, box: list[float]) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": file, "width": width, "height": height}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "white"}],
    }


def inside(folder: Path, content: dict[str, Any]) -> tuple[float, float, dict[str, int]]:
    """The mean of the pixels inside and outside of the one box, and what was counted."""
    (folder / "instances.json").write_text(json.dumps(content))
    found, dropped = scenes(folder, read(folder), [1], 40)
    x1, y1, x2, y2 = (round(v * 40) for v in found.labels[0, 0, 1:].tolist())
    pixels = found.images[0].float()
    box = pixels[:, y1:y2, x1:x2]
    rest = (pixels.sum() - box.sum()) / max(1, pixels.numel() - box.numel())
    return float(box.mean()), float(rest), dropped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path


@pytest.mark.parametrize("orientation", TURNED)
def test_a_box_on_the_turned_image_holds_what_it_was_drawn_around(folder: Path, orientation: int):
    stored(folder / "images" / "a.png", orientation)
    box, rest, dropped = inside(folder, instances("a.png", 20, 40, [0, 0, 20, 20]))
    assert (box, dropped) == (pytest.approx(255, abs=4), {})
    assert rest < 4


def test_an_image_annotated_as_it_is_stored_stays_so_and_is_said(folder: Path):
    stored(folder / "images" / "a.png", 6)
    with Image.open(folder / "images" / "a.png") as image:
        assert image.size == (40, 20)
    box, rest, dropped = inside(folder, instances("a.png", 40, 20, [0, 0, 20, 20]))
    assert box == pytest.approx(255, abs=4)
    assert rest < 4
    assert dropped == {"image left as it is stored, not turned: so it is annotated": 1}


def test_another_shape_than_is_annotated_is_said(folder: Path):
    scene().save(folder / "images" / "a.png")
    *_, dropped = inside(folder, instances("a.png", 40, 20, [0, 0, 20, 20]))
    assert dropped == {"image of another shape than is annotated": 1}
    scene().resize((11, 21)).save(folder / "images" / "a.png")
    *_, dropped = inside(folder, instances("a.png", 20, 40, [0, 0, 20, 20]))
    assert dropped == {}


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(np.tile(ramp, (64, 1))).save(path)
    pixels, _ = square(path, 8, (64, 64))
    assert pixels[:, 3].tolist() == [[17, 46, 79, 111, 144, 176, 209, 238]] * 3
    for value, eight in ((0, 0), (255, 0), (256, 1), (257 * 100, 100), (65535, 255)):
        Image.fromarray(np.full((4, 4), value, dtype=np.uint16)).save(path)
        assert square(path, 4, (4, 4))[0].ravel().tolist() == [eight] * 48


RED, HALF = (200, 40, 40), (200, 40, 40, 128)


def plain(mode: str) -> Image.Image:
    return Image.new("RGB", (8, 8), RED).convert(mode)


def paletted() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    return image


@pytest.mark.parametrize(
    ("image", "form", "colour", "remarks"),
    [
        (plain("RGB"), "png", RED, []),
        (plain("L"), "png", (88, 88, 88), []),
        (Image.new("1", (8, 8), 1), "png", (255, 255, 255), []),
        (paletted(), "png", RED, []),
        (plain("CMYK"), "tiff", RED, []),
        (Image.new("RGBA", (8, 8), (*RED, 255)), "png", RED, []),
        (Image.new("LA", (8, 8), (90, 255)), "png", (90, 90, 90), []),
        # Half of the colour, half of the white behind it.
        (Image.new("RGBA", (8, 8), HALF), "png", (227, 147, 147), ["transparent image, laid on white"]),
        (Image.new("LA", (8, 8), (90, 128)), "png", (172, 172, 172), ["transparent image, laid on white"]),
    ],
    ids=["RGB", "L", "1", "P", "CMYK", "opaque RGBA", "opaque LA", "RGBA", "LA"],
)
def test_every_mode_has_its_colours(
    tmp_path: Path, image: Image.Image, form: str, colour: tuple[int, ...], remarks: list[str]
):
    path = tmp_path / f"a.{form}"
    image.save(path)
    pixels, said = square(path, 4, (8, 8))
    assert pixels.reshape(3, -1).T.tolist() == [pytest.approx(colour, abs=1)] * 16
    assert said == remarks


def test_a_transparent_index_of_a_palette_is_white(tmp_path: Path):
    image = paletted()
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    pixels, said = square(tmp_path / "a.png", 8, (8, 8))
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 4, 4].tolist() == list(RED)
    assert said == ["transparent image, laid on white"]


@pytest.mark.parametrize(
    ("image", "form", "reason"),
    [
        (Image.new("RGBA", (8, 8), (*RED, 0)), "png", "transparent all over"),
        (Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)), "tiff", "32-bit values"),
        (Image.fromarray(np.full((8, 8), 70000, dtype=np.int32)), "tiff", "32-bit values"),
    ],
    ids=["no alpha", "F", "I"],
)
def test_what_cannot_be_known_is_left_out(tmp_path: Path, image: Image.Image, form: str, reason: str):
    image.save(tmp_path / f"a.{form}")
    with pytest.raises(Unusable, match=reason):
        square(tmp_path / f"a.{form}", 4, (8, 8))


def test_it_is_counted_with_its_reason(folder: Path):
    content = instances("0.tiff", 8, 8, [1, 1, 4, 4])
    for number in range(20):
        noise = np.random.default_rng(number).random((8, 8), dtype=np.float32)
        image = Image.fromarray(noise) if number < 2 else Image.fromarray((255 * noise).astype(np.uint8))
        image.save(folder / "images" / f"{number}.tiff")
    content["images"] = [{"id": i + 1, "file_name": f"{i}.tiff", "width": 8, "height": 8} for i in range(20)]
    (folder / "instances.json").write_text(json.dumps(content))
    task = detection(folder, "noise", 8)
    assert task.dropped == {"image of 32-bit values, whose range is not known": 2}
    assert sum(len(split) for split in (task.train, task.validation, task.test)) == 18


def test_an_image_without_orientation_is_what_it_was(tmp_path: Path):
    scene().save(tmp_path / "a.png")
    expected = np.asarray(ImageOps.exif_transpose(scene()).resize((8, 8), Image.Resampling.BILINEAR))
    assert (square(tmp_path / "a.png", 8, (20, 40))[0].transpose(1, 2, 0) == expected).all()
