"""A trained network from its file, a .pith or a checkpoint of the zoo, without any data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import zoo
from pithnet.artifact import Metadata
from pithnet.commands.inputs import check_architecture, is_artifact, load_artifact, normalization_of
from pithnet.commands.onnx_facts import OnnxFacts
from pithnet.commands.settings import DataSettings
from pithnet.data import DATASETS, Normalization
from pithnet.errors import ModelError


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network in eval mode, and what its file says of it.

    Attributes:
        file: The file that it was loaded from.
        model: The network.
        architecture: Its name in the zoo, and its arguments.
        metadata: What a .pith says of itself; nothing of a checkpoint.
    """

    file: Path
    model: nn.Module
    architecture: tuple[str, dict[str, Any]]
    metadata: Metadata

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (channels, height, width) of the images that the architecture is made for."""
        return zoo.input_shape(self.architecture[0])

    def normalization(self, data: DataSettings) -> Normalization:
        """Returns what --normalize says, else what a .pith says, else what suits the checkpoint or data."""
        said = self.metadata.normalization
        if data.normalize is None and said is not None:
            return Normalization(*said)
        return normalization_of(data, None if is_artifact(self.file) else self.file)

    def data(self, data: DataSettings) -> DataSettings:
        """Returns the settings with the data set that a .pith names, where they name none."""
        named = self.metadata.dataset
        return replace(data, data=named) if data.data is None and named in DATASETS else data

    def facts(self, precision: str, normalization: Normalization) -> dict[str, str]:
        """Returns what an ONNX file made of it says of itself."""
        return OnnxFacts(self.architecture, normalization, precision).to_metadata()


def open_network(file: Path, model: str | None) -> OpenedNetwork:
    """Opens the network of a .pith, or of a checkpoint of the architecture `model`.

    Raises:
        ModelError: The file cannot be used, or is a checkpoint and no architecture is given.
        ArtifactError: The .pith is damaged.
    """
    if is_artifact(file):
        network: Any = load_artifact(file, model)
        return OpenedNetwork(file, network, network.architecture, network.pith)
    if model is None:
        raise ModelError(
            f"{file} is a checkpoint, or meant to be one: add --model NAME, such as --model resnet20"
        )
    network = zoo.load(check_architecture(model), file)
    return OpenedNetwork(file, network, network.architecture, Metadata())
