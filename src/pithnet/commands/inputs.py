"""From names and paths to images, networks and teachers; what is wrong with them is said first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pithnet import artifact, zoo
from pithnet import data as sources
from pithnet.commands.settings import DataSettings
from pithnet.data import DATASETS, NORMALIZATIONS, ArrayData, Augmentation, Batches, Normalization
from pithnet.data.download import download_cifar10
from pithnet.errors import DataError, ModelError, lookup, require_known
from pithnet.surgery import evaluating
from pithnet.zoo import ARCHITECTURES

TEST_BATCH = 500
# Not the run's: an image that one command holds out must not be one that another learnt from.
_SPLIT_SEED = 0
_MAGIC = b"PITH"
# A flipped digit is no digit, and 8 pixels leave no room to move by 4.
_AUGMENTATIONS = {"digits": Augmentation(pad=1, flip=False)}


@dataclass(frozen=True)
class Images:
    """train: to learn from, None where not asked for. test: to measure on, test images or held out."""

    name: str
    train: ArrayData | None
    test: ArrayData

    @property
    def classes(self) -> int:
        """How many there are in both parts; a part may lack some."""
        return max(len(part.classes) for part in (self.train, self.test) if part is not None)

    def train_batches(self, size: int, normalization: Normalization, augment: bool, seed: int) -> Batches:
        """Shuffled, augmented as suits the data set."""
        assert self.train is not None
        augmentation = _AUGMENTATIONS.get(self.name, Augmentation()) if augment else None
        return Batches(self.train, size, normalization, augmentation=augmentation, shuffle=True, seed=seed)

    def test_batches(self, normalization: Normalization) -> Batches:
        return Batches(self.test, TEST_BATCH, normalization)


@dataclass(frozen=True)
class Teacher:
    """A trained network and how its images are normalised."""

    model: nn.Module
    normalization: Normalization


def load_images(
    settings: DataSettings, *, train: bool, progress: Callable[[int, int | None], None] | None = None
) -> Images:
    """The images `settings` names; the training part only where `train`, or where some of it are held out.

    Raises DataError for what is missing, damaged or unlabelled.
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
    """(the images to learn from, those --val holds out of them: None without it); the same in every command.

    Raises DataError for what is missing or damaged, and where not so many can be held out.
    """
    if settings.val < 0:
        raise DataError(f"--val {settings.val}: cannot hold out a negative number of images")
    train = sources.load(
        settings.name, None if settings.data_root is None else Path(settings.data_root), "train"
    )
    return train.split(settings.val, _SPLIT_SEED) if settings.val else (train, None)


def parse_normalization(text: str) -> Normalization:
    """A name in NORMALIZATIONS, or M,M,M/S,S,S. Raises DataError for anything else."""
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
    """What `settings` says; imagenet for a checkpoint with `module.` before its keys; else the data set's."""
    if settings.normalize is not None:
        return parse_normalization(settings.normalize)
    if checkpoint is not None and zoo.has_module_prefix(checkpoint):
        return NORMALIZATIONS["imagenet"]
    return NORMALIZATIONS[DATASETS[settings.name].normalization]


def check_architecture(name: str | None) -> str:
    """The name. Raises ModelError where the zoo has no such network, or none is named."""
    if name is None:
        raise ModelError("which architecture? Give --model NAME, such as --model resnet20")
    require_known("architecture", name, ARCHITECTURES, ModelError)
    return name


def load_network(name: str, images: Images, weights: str | Path | None) -> nn.Module:
    """An architecture of the zoo with as many outputs as the images have classes.

    Raises as `zoo.load`, and ModelError for a checkpoint that was trained for other classes.
    """
    if weights is None:
        # A .pith file stores only what differs from the architecture's default.
        default = images.classes in (0, zoo.default_classes(name))
        return zoo.load(name) if default else zoo.load(name, classes=images.classes)
    model = zoo.load(name, weights)
    if images.classes not in (0, zoo.outputs(model)):
        raise ModelError(
            f"{weights} has {zoo.outputs(model)} outputs, {images.name} has {images.classes} classes"
        )
    return model


def is_artifact(file: Path) -> bool:
    """Whether the file is named or begins as a .pith. Raises ModelError where it cannot be read."""
    if file.suffix == ".pith":
        return True
    try:
        with open(file, "rb") as f:
            return f.read(len(_MAGIC)) == _MAGIC
    except OSError as e:
        raise ModelError(f"{file} cannot be read: {e.strerror}") from None


def load_artifact(file: Path, model: str | None) -> nn.Module:
    """The network of a .pith; `model` is its architecture where it names none. Raises as `artifact.load`."""
    if model is None or artifact.inspect_file(file).architecture == model:
        return artifact.load(file)
    return artifact.load(file, zoo.build(check_architecture(model)))


def load_teacher(
    text: str, images: Images, settings: DataSettings, device: torch.device | None = None
) -> Teacher:
    """The network of ARCH:FILE, on `device` where one is given.

    Raises ModelError where the text is not of that form, or as `zoo.load`.
    """
    name, separator, file = text.partition(":")
    if not (name and separator and file):
        raise ModelError(f"teacher {text!r} is not ARCH:FILE, such as resnet44:resnet44.pt")
    model = load_network(name, images, file).to(device)
    # Public checkpoints of a set with a normalisation of its own come with that one or imagenet's, whatever
    # the student's is. Of other images nothing is known but what --normalize says.
    if DATASETS[settings.name].normalization == settings.name:
        settings = replace(settings, normalize=None)
    teacher = Teacher(model, normalization_of(settings, file))
    check_fit(model, images, teacher.normalization, name)
    return teacher


def check_fit(model: nn.Module, images: Images, normalization: Normalization, name: str) -> None:
    """Raises DataError or ModelError where the network cannot take the images or has too few outputs."""
    shape = tuple(images.test.images.shape[1:])
    if len(normalization.mean) not in (1, shape[0]):
        raise DataError(
            f"the normalisation has {len(normalization.mean)} channels, the images of {images.name} have "
            f"{shape[0]}; choose another --normalize"
        )
    device = next((p.device for p in model.parameters()), None)
    try:
        with evaluating(model), torch.inference_mode():
            outputs = model(torch.zeros(1, *shape, device=device)).shape[1]
    except RuntimeError as e:
        raise ModelError(
            f"{name} does not take the images of {images.name}, which are {' x '.join(map(str, shape))} "
            f"(channels x height x width): {str(e).splitlines()[0]}"
        ) from None
    if images.classes > outputs:
        raise ModelError(f"{name} has {outputs} outputs, {images.name} has {images.classes} classes")
