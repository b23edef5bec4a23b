"""Images in folders: root/train/CLASS/*.png and root/test/CLASS/*.png, or a flat folder without labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pithnet.data.arrays import ArrayData
from pithnet.errors import DataError, nearest, require_known

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val")}
LAYOUT = "Expected ROOT/train/CLASS/*.png (or .jpg, .webp) and ROOT/test/CLASS/*.png."


def load_folder(
    root: Path, split: str = "train", size: tuple[int, int] | None = None, mode: str = "RGB"
) -> ArrayData:
    """Returns the images of one split, uint8 (N, C, H, W), in the order of their names, as the classes are.

    Args:
        root: A folder that holds train/CLASS/ and test/CLASS/ (or val/CLASS/). Images directly in ROOT/train,
            or in ROOT where it has no class folders, have no labels (labels None). Images directly in ROOT
            are no held-out set, so they are "train" only.
        split: "train" or "test".
        size: (height, width) to which every image is resized (bilinear, antialiased); without it all images
            must have the same size.
        mode: "RGB" (C = 3) or "L" (grey, C = 1).

    Raises:
        DataError: A folder is missing or empty, an image cannot be read (the message names it) or has another
            size, the test set has classes that the training set does not have, or the mode is unknown or the
            size below 1.
    """
    root = Path(root)
    require_known("split", split, SPLIT_FOLDERS, DataError)
    if mode not in ("RGB", "L"):  # both are named, whichever is nearer: few know that L is grey
        raise DataError(f"unknown image mode {mode!r}: choose 'RGB' or 'L'")
    if size is not None and min(size) < 1:
        raise DataError(f"images cannot be resized to {size[0]} x {size[1]}: both must be at least 1")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder. {LAYOUT}")
    folder = _split_folder(root, split)
    classes, paths, labels = _scan(folder)
    if split == "test" and classes:
        classes, labels = _renumbered(root, folder, classes, labels)
    images = torch.from_numpy(_read(paths, size, mode))
    return ArrayData(images, torch.tensor(labels) if classes else None, classes)


def _split_folder(root: Path, split: str) -> Path:
    for name in SPLIT_FOLDERS[split]:
        if (root / name).is_dir():
            return root / name
    if split == "train" and not any(entry.is_dir() for entry in _visible(root)):
        return root
    names = " or ".join(f"{name}/" for name in SPLIT_FOLDERS[split])
    raise DataError(f"{root} has no {names}. {LAYOUT}")


def _visible(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)


def _images(folder: Path) -> list[Path]:
    return [p for p in _visible(folder) if p.suffix.lower() in SUFFIXES and p.is_file()]


def _scan(folder: Path) -> tuple[tuple[str, ...], list[Path], list[int]]:
    """Returns class names, image paths and a label per path; no names and labels for a flat folder."""
    flat = _images(folder)
    members = {entry.name: _images(entry) for entry in _visible(folder) if entry.is_dir()}
    if flat and members:
        raise DataError(
            f"{folder} mixes images ({flat[0].name}) and class folders ({next(iter(members))}). {LAYOUT}"
        )
    for name, paths in members.items():
        if not paths:
            raise DataError(f"{folder / name} has no images ({', '.join(SUFFIXES)}). Remove it or fill it.")
    if not flat and not members:
        raise DataError(f"{folder} has no images ({', '.join(SUFFIXES)}). {LAYOUT}")
    labels = [label for label, paths in enumerate(members.values()) for _ in paths]
    return tuple(members), flat or [p for paths in members.values() for p in paths], labels


def _renumbered(
    root: Path, folder: Path, classes: tuple[str, ...], labels: list[int]
) -> tuple[tuple[str, ...], list[int]]:
    """Returns the classes and labels as the training folder numbers them, where there is one."""
    if not (root / "train").is_dir():
        return classes, labels
    known = tuple(entry.name for entry in _visible(root / "train") if entry.is_dir())
    for name in classes:
        if name not in known:  # the fault lies in one of two folders, so the message names both
            raise DataError(
                f"class {name!r} of {folder} is not among those of {root / 'train'}.{nearest(name, known)}"
            )
    return known, [known.index(classes[label]) for label in labels]


def _read(paths: list[Path], size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    """Returns uint8 (N, C, H, W)."""
    first = _decode(paths[0], size, mode)
    images = np.empty((len(paths), *first.shape), np.uint8)
    for i, path in enumerate(paths):
        image = first if i == 0 else _decode(path, size, mode)
        if image.shape != first.shape:
            raise DataError(
                f"{path} is {image.shape[1]} x {image.shape[2]} (height x width), {paths[0].name} is "
                f"{first.shape[1]} x {first.shape[2]}: give a size to resize them all"
            )
        images[i] = image
    return images


def _decode(path: Path, size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    """Returns uint8 (C, H, W), turned upright where the camera says how it was held."""
    try:
        with warnings.catch_warnings():
            # A small file that claims a huge picture would fill the memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise DataError(
                        f"{path} has more than 8 bits per channel ({opened.mode}): convert it to 8 bits"
                    )
                image = ImageOps.exif_transpose(opened).convert(mode)
    except DataError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise DataError(f"cannot read the image {path}: {error}. Replace or remove it.") from error
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
