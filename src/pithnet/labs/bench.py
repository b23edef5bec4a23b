"""The network and the images of a lab."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pithnet.data import Batches, Normalization
from pithnet.errors import DataError, nearest
from pithnet.labs.notebook import Row
from pithnet.run.inputs import TEST_BATCH, Images, load_images, load_network, normalization_of
from pithnet.run.settings import DataSettings

ARCHITECTURES = {"cifar10": "resnet20", "digits": "digits-cnn"}


@dataclass(frozen=True, eq=False)
class Bench:
    """A zoo network and its images. `weights`: a checkpoint to start from, None to train one."""

    architecture: str
    images: Images
    normalization: Normalization
    batch_size: int
    seed: int
    weights: Path | None = None

    @classmethod
    def open(
        cls, data: str, data_root: Path | None, weights: Path | None, batch_size: int, seed: int
    ) -> Bench:
        """Loads the data. Raises DataError where the labs have no network for it, and as `load_images`."""
        if data not in ARCHITECTURES:
            raise DataError(f"the labs do not run on {data!r}.{nearest(data, ARCHITECTURES)}")
        settings = DataSettings(data=data, data_root=None if data_root is None else str(data_root))
        images = load_images(settings, train=True, seed=seed)
        normalization = normalization_of(settings, weights)
        return cls(ARCHITECTURES[data], images, normalization, batch_size, seed, weights)

    def model(self) -> nn.Module:
        """The network in eval mode, with the checkpoint's weights or seeded fresh ones."""
        torch.manual_seed(self.seed)
        return load_network(self.architecture, self.images, self.weights)

    def training_batches(self, augment: bool = True) -> Batches:
        """All training images, shuffled, cropped and flipped as suits them."""
        return self.images.train_batches(self.batch_size, self.normalization, augment, self.seed)

    def test_batches(self) -> Batches:
        return self.images.test_batches(self.normalization)

    def choice_batches(self) -> Batches:
        """A tenth of the training images as they are: what choices are made on, never the test images."""
        assert self.images.train is not None
        _, held_out = self.images.train.split(len(self.images.train) // 10, self.seed)
        return Batches(held_out, TEST_BATCH, self.normalization)

    def facts(self) -> Row:
        """What results.json says of it; a checkpoint by name and sha256."""
        assert self.images.train is not None
        weights = None
        if self.weights is not None:
            digest = hashlib.sha256(self.weights.read_bytes()).hexdigest()[:16]
            weights = {"file": self.weights.name, "sha256": digest}
        return {
            "architecture": self.architecture,
            "dataset": self.images.name,
            "weights": weights,
            "train_images": len(self.images.train),
            "test_images": len(self.images.test),
            "seeds": [self.seed],
        }
