"""The network and the images of a lab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pithnet.commands.devices import get_device
from pithnet.commands.inputs import (
    TEST_BATCH,
    Images,
    check_fit,
    load_images,
    load_network,
    normalization_of,
)
from pithnet.commands.settings import DataSettings
from pithnet.data import Batches, Normalization
from pithnet.errors import DataError, ModelError, nearest, require_known
from pithnet.labs.notebook import Row
from pithnet.labs.teachers import LabTeacher
from pithnet.learn import Training, cached_teacher_logits, resolve_precision
from pithnet.run.resumption import file_digest
from pithnet.zoo import ARCHITECTURES as ZOO

ARCHITECTURES = {"cifar10": "resnet20", "digits": "digits-cnn"}


@dataclass(frozen=True, eq=False)
class Workbench:
    """A zoo network and its images. With `weights` it starts from a checkpoint, else it is to be trained.

    All trainings are in `precision`, "float32" or "bf16". `taught` asks the `teacher`, whose logits for the
    training images are then `soft`; None is learning from the labels alone.
    """

    architecture: str
    images: Images
    normalization: Normalization
    batch_size: int
    seed: int
    weights: Path | None = None
    precision: str = "float32"
    teacher: LabTeacher | None = None
    soft: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def open(
        cls,
        settings: DataSettings,
        weights: Path | None,
        batch_size: int,
        seed: int,
        precision: str = "float32",
        architecture: str | None = None,
        on_download: Callable[[int, int | None], None] | None = None,
        teacher: str | None = None,
        device: str = "cpu",
    ) -> Workbench:
        """Loads the data, and resolves the precision "auto".

        The `architecture` is the data's where None; a lab that never has a `teacher` gives None.

        Raises:
            DataError: The labs have no network for the data, or the images cannot be used.
            PithError: Architecture, precision, teacher or device cannot be had.
        """
        data, place = settings.name, get_device(device)
        if data not in ARCHITECTURES:  # it may well be a data set, which only the labs have no network for
            raise DataError(f"the labs do not run on {data!r}.{nearest(data, ARCHITECTURES)}")
        images = load_images(settings, train=True, progress=on_download)
        normalization = normalization_of(settings, weights)
        name = architecture or ARCHITECTURES[data]
        require_known("architecture", name, ZOO, ModelError)
        bench = cls(name, images, normalization, batch_size, seed, weights, device=place)
        model = bench.model()
        check_fit(model, images, normalization, name)
        x = next(iter(bench.training_batches(augment=False)))[0]
        assert x is not None
        precision = resolve_precision(precision, model, x.to(place))
        found = None if teacher is None else LabTeacher.read(teacher, images, settings, place)
        return replace(bench, precision=precision, teacher=found)

    def model(self) -> nn.Module:
        """Returns the network in eval mode, with the checkpoint's weights or seeded fresh ones."""
        torch.manual_seed(self.seed)
        return load_network(self.architecture, self.images, self.weights).to(self.device)

    def training_batches(self, augment: bool = True) -> Batches:
        """Makes batches of all training images, shuffled, cropped and flipped as suits them."""
        batches = self.images.train_batches(self.batch_size, self.normalization, augment, self.seed)
        return batches if self.soft is None else batches.with_soft(self.soft)

    def taught(
        self, start: nn.Module, views: int, cache: Path, on_batch: Callable[[int, int], None]
    ) -> Workbench:
        """Returns the bench with batches that hand out the teacher's logits of `views` of each image.

        They are those of `start`, the lab's float network, or of the network that --teacher names; with
        --teacher none the bench is as it was. The logits are kept in the folder `cache`.
        """
        teacher = None if self.teacher is None else self.teacher.of(start, self.normalization)
        if teacher is None:
            return self
        seen = self.images.train_batches(self.batch_size, teacher.normalization, True, self.seed)
        return replace(self, soft=cached_teacher_logits(teacher.model, seen, views, cache, on_batch))

    def teach(self, training: Training) -> Training:
        """Returns the training as the teacher has it; as it is where there is no teacher."""
        return training if self.teacher is None else self.teacher.teach(training)

    def test_batches(self) -> Batches:
        """Makes batches of the test images, in their order."""
        return self.images.test_batches(self.normalization)

    def choice_batches(self) -> Batches:
        """Makes batches of a tenth of the training images: choices are made on them, never on test images."""
        assert self.images.train is not None
        _, held_out = self.images.train.split(len(self.images.train) // 10, self.seed)
        return Batches(held_out, TEST_BATCH, self.normalization)

    def calibration_images(self, count: int) -> Tensor:
        """Returns `count` random training images or all there are, float32 (N, C, H, W), on the device.

        Labels are left out, and none of the images is in `choice_batches`.
        """
        assert self.images.train is not None
        rest, _ = self.images.train.split(len(self.images.train) // 10, self.seed)
        order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(self.seed))
        batches = Batches(rest.take(order[:count]), TEST_BATCH, self.normalization)
        return torch.cat([x for x, *_ in batches if x is not None]).to(self.device)

    def facts(self) -> Row:
        """Returns what results.json says of it; the checkpoint and the teacher by name and sha256."""
        assert self.images.train is not None
        weights = None
        if self.weights is not None:
            # A lab that goes on compares these 16 digits with those that it began with.
            digest = file_digest(self.weights)[:16]
            weights = {"file": self.weights.name, "sha256": digest}
        return {
            "architecture": self.architecture,
            "dataset": self.images.name,
            "weights": weights,
            "train_images": len(self.images.train),
            "test_images": len(self.images.test),
            "seeds": [self.seed],
            "precision": self.precision,
            **({} if self.teacher is None else {"teacher": self.teacher.facts()}),
            "device": self.device.type,
        }
