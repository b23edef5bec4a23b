"""From names and paths to images, networks and teachers; what is wrong with them is said first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pithnet import data as sources
from pithnet import zoo
from pithnet.commands.models import load_checkpoint
from pithnet.commands.settings import DataSettings, is_own, split_teacher
from pithnet.data import DATASETS, NORMALIZATIONS, ArrayData, Augmentation, Batches, Normalization
from pithnet.data.download import download_cifar10
from pithnet.errors import DataError, ModelError, lookup, require_known
from pithnet.learn.batch import check_logits
from pithnet.surgery import evaluating

TEST_BATCH = 500
# Not the run's: an image that one command holds out must not be one that another learnt from.
_SPLIT_SEED = 0
# A flipped digit is no digit, and 8 pixels leave no room to move by 4.
_AUGMENTATIONS = {"digits": Augmentation(pad=1, flip=False)}


@dataclass(frozen=True)
class Images:
    """The images of a run.

    Attributes:
        name: The name of the data set.
        train: The images to learn from; None where they were not asked for.
        test: The images to measure on: test images, or those that --val holds out.
    """

    name: str
    train: ArrayData | None
    test: ArrayData

    @property
    def classes(self) -> int:
        """The number of classes in both parts together; a part may lack some."""
        return max(len(part.classes) for part in (self.train, self.test) if part is not None)

    def train_batches(self, size: int, normalization: Normalization, augment: bool, seed: int) -> Batches:
        """Makes batches of the training images, shuffled, and augmented as suits the data set.

        Args:
            size: The images of a batch.
            normalization: How their channels are normalised.
            augment: Whether they are augmented.
            seed: The seed of their order and augmentation.
        """
        assert self.train is not None
        augmentation = _AUGMENTATIONS.get(self.name, Augmentation()) if augment else None
        return Batches(self.train, size, normalization, augmentation=augmentation, shuffle=True, seed=seed)

    def test_batches(self, normalization: Normalization) -> Batches:
        """Makes batches of the images to measure on, in their order."""
        return Batches(self.test, TEST_BATCH, normalization)


@dataclass(frozen=True)
class Teacher:
    """A trained network and how its images are normalised."""

    model: nn.Module
    normalization: Normalization


def load_images(
    settings: DataSettings, *, train: bool, progress: Callable[[int, int | None], None] | None = None
) -> Images:
    """Loads the images that the settings name.

    Args:
        settings: Which images.
        train: Whether the images to learn from are needed; they are loaded too where some are held out.
        progress: Called with (bytes, total) of a download.

    Raises:
        DataError: The images are missing, damaged or unlabelled, or a setting cannot be used.
    """
    root = None if settings.data_root is None else Path(settings.data_root)
    require_known("data set", settings.name, DATASETS, DataError)
    if settings.download:
        if settings.name != "cifar10":
            raise DataError(f"--download fetches cifar10, not {settings.name}")
        if root is None:
            raise DataError("--download needs --data-root DIR: the folder it puts cifar10 in")
        download_cifar10(root, progress=progress)
    learn, held_out = training_images(settings) if train or settings.val else (None, None)
    test = sources.load(settings.name, root, "test") if held_out is None else held_out
    images = Images(settings.name, learn, test)
    if images.test.labels is None:
        raise DataError(f"the images to measure on have no labels: {settings.name} at {settings.data_root}")
    return images


def training_images(settings: DataSettings) -> tuple[ArrayData, ArrayData | None]:
    """Loads the images to learn from, and those that --val holds out of them; every command gets the same.

    Returns:
        The images to learn from, and the images held out, None without --val.

    Raises:
        DataError: The images are missing or damaged, or not so many can be held out.
    """
    if settings.val < 0:
        raise DataError(f"--val {settings.val}: cannot hold out a negative number of images")
    train = sources.load(
        settings.name, None if settings.data_root is None else Path(settings.data_root), "train"
    )
    return train.split(settings.val, _SPLIT_SEED) if settings.val else (train, None)


def parse_normalization(text: str) -> Normalization:
    """Reads a name in NORMALIZATIONS, or M,M,M/S,S,S.

    Raises:
        DataError: The text is neither.
    """
    if "/" not in text:
        return lookup("normalisation", text, NORMALIZATIONS, DataError, "Or give means/stds: M,M,M/S,S,S.")
    try:
        mean, std = (tuple(float(v) for v in part.split(",")) for part in text.split("/"))
    except ValueError:
        raise DataError(
            f"normalisation {text!r} is not M,M,M/S,S,S, such as 0.5,0.5,0.5/0.25,0.25,0.25"
        ) from None
    if not all(abs(v) < float("inf") for v in (*mean, *std)):
        raise DataError(f"normalisation {text!r} has numbers that are not finite")
    return Normalization(mean, std)


def normalization_of(settings: DataSettings, checkpoint: str | Path | None = None) -> Normalization:
    """Returns how images are normalised: as the settings say, or as suits the checkpoint or the data set.

    A checkpoint with `module.` before its keys is given imagenet's way.

    Args:
        settings: Which images, and perhaps how they are normalised.
        checkpoint: The file that the network comes from.
    """
    if settings.normalize is not None:
        return parse_normalization(settings.normalize)
    if checkpoint is not None and zoo.has_module_prefix(checkpoint):
        return NORMALIZATIONS["imagenet"]
    return NORMALIZATIONS[DATASETS[settings.name].normalization]


def load_network(
    name: str, images: Images, weights: str | Path | None, widths: Mapping[str, int] | None = None
) -> nn.Module:
    """Loads a zoo network with as many outputs as the images have classes, or a network of the user's own.

    Args:
        name: The name of the architecture, or package.module:function.
        images: The images that it is for.
        weights: Its checkpoint; where None, random weights, or those that the user's function gives.
        widths: How many outputs layers of a zoo network with random weights have; the usual where None.

    Raises:
        ModelError: The checkpoint was trained for other classes, or `load_checkpoint` refuses it.
    """
    if is_own(name):
        return load_checkpoint(name, weights)  # `check_fit` counts its outputs
    if weights is None:
        # A .pith file stores only what differs from the architecture's default.
        default = images.classes in (0, zoo.default_classes(name))
        arguments: dict[str, Any] = {} if default else {"classes": images.classes}
        arguments |= {} if widths is None else {"widths": widths}
        return zoo.load(name, **arguments)
    model = zoo.load(name, weights)
    if images.classes not in (0, zoo.outputs(model)):
        raise ModelError(
            f"{weights} has {zoo.outputs(model)} outputs, {images.name} has {images.classes} classes"
        )
    return model


def load_teacher(
    text: str, images: Images, settings: DataSettings, device: torch.device | None = None
) -> Teacher:
    """Loads the network of ARCH:FILE.

    Args:
        text: The architecture and the file.
        images: The images that it is asked about.
        settings: Which images these are, and perhaps how they are normalised.
        device: The device that it goes to, where one is given.

    Raises:
        ModelError: The text is not of that form, or the file cannot be used.
        DataError: The normalisation does not fit the images.
    """
    name, file = teacher_parts(text)
    model = load_network(name, images, file).to(device)
    # Public checkpoints of a set with a normalisation of its own come with that one or imagenet's, whatever
    # the student's is. Of other images nothing is known but what --normalize says.
    if DATASETS[settings.name].normalization == settings.name:
        settings = replace(settings, normalize=None)
    teacher = Teacher(model, normalization_of(settings, file))
    check_fit(model, images, teacher.normalization, name)
    return teacher


def teacher_parts(text: str) -> tuple[str, str]:
    """Returns (network, file) of ARCH:FILE or package.module:function:FILE.

    Raises:
        ModelError: The text has another form.
    """
    name, file = split_teacher(text)
    if not (name and file):
        raise ModelError(f"teacher {text!r} is not ARCH:FILE, such as resnet44:resnet44.pt")
    return name, file


def check_fit(model: nn.Module, images: Images, normalization: Normalization, name: str) -> None:
    """Refuses a network that cannot take the images or has too few outputs for their classes.

    Args:
        model: The network.
        images: The images.
        normalization: How they are normalised.
        name: What the network is called in messages.

    Raises:
        DataError: The normalisation has another number of channels than the images.
        ModelError: The network does not take the images, or has too few outputs.
    """
    shape = tuple(images.test.images.shape[1:])
    if len(normalization.mean) not in (1, shape[0]):
        raise DataError(
            f"the normalisation has {len(normalization.mean)} channels, the images of {images.name} have "
            f"{shape[0]}; choose another --normalize"
        )
    device = next((p.device for p in model.parameters()), None)
    try:
        with evaluating(model), torch.inference_mode():
            found = model(torch.zeros(1, *shape, device=device))
    except Exception as e:  # whatever a user's module raises
        lines = str(e).splitlines() or [type(e).__name__]
        raise ModelError(
            f"{name} does not take the images of {images.name}, which are {' x '.join(map(str, shape))} "
            f"(channels x height x width): {lines[0]}"
        ) from None
    outputs = check_logits(found).shape[1]
    if images.classes > outputs:
        raise ModelError(f"{name} has {outputs} outputs, {images.name} has {images.classes} classes")
