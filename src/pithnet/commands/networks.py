"""A trained network from its file, a .pith or a checkpoint, without any data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import artifact, zoo
from pithnet.artifact import Metadata
from pithnet.commands.examples import parse_example
from pithnet.commands.inputs import normalization_of
from pithnet.commands.models import is_artifact, load_artifact, load_checkpoint, require_checkpoint_name
from pithnet.commands.settings import DataSettings
from pithnet.data import DATASETS, Normalization
from pithnet.errors import DataError


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network in eval mode, and what its file says of it.

    Attributes:
        file: The file that it was loaded from.
        model: The network.
        asked: What --model says, a name in the zoo or package.module:function; None where it is not given.
        metadata: What a .pith says of itself; nothing of a checkpoint.
    """

    file: Path
    model: nn.Module
    asked: str | None
    metadata: Metadata

    @cached_property
    def architecture(self) -> tuple[str, dict[str, Any]] | None:
        """Its name in the zoo, and its arguments; None for a network of the user's own."""
        return artifact.own_architecture(self.model)

    @property
    def name(self) -> str:
        """What messages call it: its name in the zoo, or package.module:function."""
        return self.architecture[0] if self.architecture else (self.asked or str(self.file))

    def shape(self, example: str | None) -> tuple[int, ...]:
        """Returns the lengths of one input without the batch, (channels, height, width) say.

        Args:
            example: What --example says; a network of the zoo needs none.

        Raises:
            DataError: The text is no shape, or there is none for a network of the user's own.
        """
        if example is not None:
            return tuple(parse_example(example).shape[1:])
        if self.architecture is None:
            raise DataError(
                f"{self.name} does not say what its inputs are: give --example, such as --example 1x3x32x32"
            )
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

    def facts(self, precision: str, normalization: Normalization | None) -> dict[str, str]:
        """Returns what an ONNX file made of it says of itself."""
        # Only here: who makes no ONNX file need not wait for its runtimes.
        from pithnet.commands.onnx_facts import OnnxFacts

        return OnnxFacts(self.architecture, normalization, precision).to_metadata()


def open_network(file: Path, model: str | None) -> OpenedNetwork:
    """Opens the network of a .pith, or of a checkpoint of the architecture `model`.

    Args:
        file: The file.
        model: A zoo name, or package.module:function.

    Raises:
        ModelError: The file cannot be used, or is a checkpoint and no architecture is given.
        ArtifactError: The .pith is damaged.
    """
    network: Any
    if is_artifact(file):
        network = load_artifact(file, model)
        return OpenedNetwork(file, network, model, network.pith)
    network = load_checkpoint(require_checkpoint_name(model, file), file)
    return OpenedNetwork(file, network, model, Metadata())
