from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pithnet.data.folders import load_folder
from pithnet.errors import DataError


def paint(path: Path, color: object, size: tuple[int, int] = (4, 6), mode: str = "RGB") -> Path:
    """An image of one colour; size is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size[1], size[0]), color).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    paint(tmp_path / "train/cat/b.png", (1, 2, 3))
    paint(tmp_path / "train/cat/a.PNG", (4, 5, 6))
    paint(tmp_path / "train/ant/x.webp", (200, 200, 200))
    paint(tmp_path / "train/dog/x.jpg", (90, 90, 90))
    paint(tmp_path / "val/dog/y.png", (7, 8, 9))
    (tmp_path / "train/cat/notes.txt").write_text("not an image")
    (tmp_path / "train/.hidden").mkdir()
    return tmp_path


def test_classes_and_images_in_the_order_of_their_names(root: Path) -> None:
    data = load_folder(root, "train")
    assert data.classes == ("ant", "cat", "dog")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1, 2]
    assert data.images.shape == (4, 3, 4, 6)
    assert data.images[1:3, :, 0, 0].tolist() == [[4, 5, 6], [1, 2, 3]]


def test_test_classes_are_numbered_as_in_training(root: Path) -> None:
    data = load_folder(root, "test")
    assert data.classes == ("ant", "cat", "dog")
    assert data.labels is not None
    assert data.labels.tolist() == [2]


def test_test_folder_comes_before_val(root: Path) -> None:
    paint(root / "test/cat/z.png", (0, 0, 0))
    data = load_folder(root, "test")
    assert data.labels is not None
    assert data.labels.tolist() == [1]


def test_a_class_unknown_in_training(root: Path) -> None:
    paint(root / "val/cart/z.png", (0, 0, 0))
    with pytest.raises(
        DataError, match=r"class 'cart' of .*val is not among those of .*train\. Did you mean cat"
    ):
        load_folder(root, "test")


def test_a_flat_folder_has_no_labels_and_is_no_test_set(tmp_path: Path) -> None:
    paint(tmp_path / "b.png", (1, 1, 1))
    paint(tmp_path / "a.png", (2, 2, 2))
    data = load_folder(tmp_path)
    assert data.labels is None
    assert data.images[:, 0, 0, 0].tolist() == [2, 1]
    with pytest.raises(DataError, match="has no test/ or val/"):
        load_folder(tmp_path, "test")


def test_size_resizes_height_by_width(root: Path) -> None:
    paint(root / "train/ant/other.png", (200, 0, 0), size=(9, 5))
    with pytest.raises(DataError, match=r"x\.webp is 4 x 6 .*other\.png is 9 x 5.*give a size"):
        load_folder(root)
    data = load_folder(root, size=(3, 2))
    assert data.images.shape == (5, 3, 3, 2)
    assert data.images[0, :, 1, 1].tolist() == [200, 0, 0]


def test_grey_and_transparent_images(tmp_path: Path) -> None:
    paint(tmp_path / "grey.png", 17, mode="L")
    paint(tmp_path / "rgba.png", (30, 30, 30, 255), mode="RGBA")
    assert load_folder(tmp_path).images[:, :, 0, 0].tolist() == [[17] * 3, [30] * 3]
    assert load_folder(tmp_path, mode="L").images[:, :, 0, 0].tolist() == [[17], [30]]


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[10, 20]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to view"
    image.save(tmp_path / "a.png", exif=exif)
    assert load_folder(tmp_path, mode="L").images[0, 0].tolist() == [[10], [20]]


def test_sixteen_bit_images_are_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep.png has more than 8 bits"):
        load_folder(tmp_path)


def test_damaged_and_oversized_images_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = paint(tmp_path / "a.png", (1, 2, 3), size=(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(DataError, match=r"cannot read the image .*a\.png.*exceeds limit"):
        load_folder(tmp_path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cannot read the image .*a\.png"):
        load_folder(tmp_path)
    path.write_bytes(b"text")
    with pytest.raises(DataError, match=r"cannot read the image .*a\.png"):
        load_folder(tmp_path)


def test_bad_layouts_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder\. Expected ROOT/train/CLASS"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has no images .*Expected"):
        load_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"has no train/\. Expected"):
        load_folder(tmp_path)
    (tmp_path / "train/cat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cat has no images"):
        load_folder(tmp_path)
    paint(tmp_path / "train/cat/a.png", 0)
    paint(tmp_path / "train/b.png", 0)
    with pytest.raises(DataError, match=r"mixes images \(b.png\) and class folders \(cat\)"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trian"}, "unknown split 'trian'. Did you mean train"),
        ({"mode": "CMYK"}, "unknown image mode 'CMYK': choose 'RGB' or 'L'"),
        ({"size": (0, 3)}, "cannot be resized to 0 x 3"),
    ],
)
def test_bad_arguments(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_folder(root, **options)  # type: ignore[arg-type]
