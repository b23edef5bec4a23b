"""What a run works on: a network, the batches that it learns from and is measured on, and its teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pithnet import artifact
from pithnet.artifact import Metadata
from pithnet.commands.devices import get_device
from pithnet.commands.fingerprints import images_digest, loader_digests
from pithnet.commands.inputs import (
    check_fit,
    load_images,
    load_network,
    load_teacher,
    normalization_of,
    teacher_parts,
)
from pithnet.commands.loaders import own_loaders
from pithnet.commands.models import check_architecture, load_checkpoint
from pithnet.commands.settings import CompressSettings, DataSettings, TrainSettings, is_own
from pithnet.data import Batches, Normalization
from pithnet.errors import DataError, ModelError
from pithnet.learn import Loss, Metric
from pithnet.run.progress import Quiet
from pithnet.run.resumption import file_digest, state_digest


@dataclass(frozen=True)
class Learning:
    """How a run learns: whether at all, how images become batches, and the seed of its random numbers.

    Loaders of the user's own make their batches themselves.
    """

    learns: bool
    batch_size: int
    augment: bool
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network and its data.

    Attributes:
        model: The network, on its device.
        data: The data set's name, or package.module:function.
        train: Batches to learn from, None where nothing is trained.
        test: Batches to measure on; None where the user's function gives none.
        example: One input, for plans.
        inputs: Digests of what the run learns from, by name.
        measured_on: What an accuracy is measured on, in words.
        teacher: The network to learn from, or None.
        teacher_batches: The training images as the teacher expects them, for images of a data set.
        loss: The user's own loss, or None.
        metric: The user's own metric, or None.
        normalization: How images of a data set are normalised.
    """

    model: nn.Module
    data: str
    train: Iterable[Any] | None
    test: Iterable[Any] | None
    example: Any
    inputs: dict[str, str]
    measured_on: str
    teacher: nn.Module | None = None
    teacher_batches: Batches | None = None
    loss: Loss | None = None
    metric: Metric | None = None
    normalization: Normalization | None = None

    def metadata(self, recipe: str) -> Metadata:
        """Returns what a .pith says of the network; it never names a function of the user's."""
        n = self.normalization
        said = Metadata(
            normalization=None if n is None else (n.mean, n.std),
            dataset=None if n is None else self.data,
            recipe=recipe,
            source=self.inputs.get("weights"),
        )
        return artifact.with_architecture(said, self.model)


@dataclass(frozen=True)
class _Named:
    """The networks that the settings name, and where they compute."""

    model: str
    weights: str | None
    teacher: str | None
    device: torch.device
    widths: Mapping[str, int] | None = None


def open_subject(
    data: DataSettings,
    settings: TrainSettings | CompressSettings,
    learning: Learning,
    report: Quiet,
    widths: Mapping[str, int] | None = None,
) -> Subject:
    """Reads the network, the data and the teacher that the settings name.

    Args:
        data: Which data.
        settings: Which network.
        learning: How the run learns.
        report: Shows what is downloaded.
        widths: How many outputs layers of a zoo network with random weights have; the usual where None.

    Raises:
        ModelError: The network or the teacher is unknown, missing or damaged, or does not fit the data.
        DataError: The data is unknown, missing or damaged.
        PithError: The device cannot be used.
    """
    device = get_device(settings.device)
    name, weights = check_architecture(settings.model), None
    if isinstance(settings, CompressSettings):
        weights = settings.weights
        if weights is None and not is_own(name):
            raise ModelError("there is nothing to compress: give --weights FILE")
    if widths is not None and is_own(name):
        raise ModelError(f"--widths is for networks of the zoo; let {name} return one of these widths")
    named = _Named(name, weights, settings.teacher, device, widths)
    return _of_loaders(data, named, learning) if data.own else _of_images(data, named, learning, report)


def _of_images(data: DataSettings, named: _Named, learning: Learning, report: Quiet) -> Subject:
    images = load_images(data, train=learning.learns, progress=report.download)
    if learning.learns and images.classes < 2:
        raise DataError(f"{data.name} has {images.classes} class; a network tells two or more apart")
    normalization = normalization_of(data, named.weights)
    torch.manual_seed(learning.seed)
    model = load_network(named.model, images, named.weights, named.widths).to(named.device)
    check_fit(model, images, normalization, named.model)
    teacher = named.teacher and load_teacher(named.teacher, images, data, named.device)
    size, augment, seed = learning.batch_size, learning.augment, learning.seed
    train = teacher_batches = None
    if learning.learns:
        train = images.train_batches(size, normalization, augment, seed)
        if teacher:
            teacher_batches = images.train_batches(size, teacher.normalization, augment, seed)
    return Subject(
        model=model,
        data=data.name,
        train=train,
        test=images.test_batches(normalization),
        example=torch.zeros(1, *images.test.images.shape[1:], device=named.device),
        inputs={"images": images_digest(images), **_network_digests(named, model)},
        measured_on=f"{data.val} held-out training images" if data.val else "test images",
        teacher=teacher.model if teacher else None,
        teacher_batches=teacher_batches,
        normalization=normalization,
    )


def _of_loaders(data: DataSettings, named: _Named, learning: Learning) -> Subject:
    loaders = own_loaders(data)
    torch.manual_seed(learning.seed)
    arguments: dict[str, Any] = {} if named.widths is None else {"widths": named.widths}
    model = load_checkpoint(named.model, named.weights, **arguments).to(named.device)
    teacher = None
    if named.teacher is not None:
        teacher = load_checkpoint(*teacher_parts(named.teacher)).to(named.device)
    return Subject(
        model=model,
        data=loaders.name,
        train=loaders.train if learning.learns else None,
        test=loaders.val,
        example=loaders.example(named.device),
        inputs={**loader_digests(loaders), **_network_digests(named, model)},
        measured_on=f"samples of {loaders.name}",
        teacher=teacher,
        loss=loaders.loss,
        metric=loaders.metric,
    )


def _network_digests(named: _Named, model: nn.Module) -> dict[str, str]:
    """Of the files, and of the weights that the user's own function gives."""
    found = {}
    if named.weights is not None:
        found["weights"] = file_digest(named.weights)
    elif is_own(named.model):
        found["model"] = state_digest(artifact.plain_state(model))
    if named.teacher is not None:
        found["teacher"] = file_digest(teacher_parts(named.teacher)[1])
    return found
