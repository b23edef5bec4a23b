"""Whether the tensors of a file are those of a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from pithnet.artifact.layout import Entry
from pithnet.errors import ArtifactError, require_known
from pithnet.surgery import Fit, conflicting_tie, layer_widths


def check_fit(layout: Sequence[Entry], own: Mapping[str, Tensor], cut: Collection[str] = ()) -> None:
    """Checks that a file holds the tensors of a model, and no others.

    Args:
        layout: The tensors of the file.
        own: The model's, by plain names.
        cut: Names of tensors whose shape the model is going to take from the file.

    Raises:
        ArtifactError: A tensor is missing or too many, or of another shape or kind; the message names it.
    """
    for entry in layout:
        if entry.name not in own:
            raise ArtifactError(f"the model has no {entry.name} {list(entry.shape)}, which the file holds")
        mine = own[entry.name]
        if not isinstance(mine, Tensor):
            raise ArtifactError(
                f"{entry.name} is a tensor in the file and a {type(mine).__name__} in the model"
            )
        castable = mine.dtype.is_floating_point and entry.dtype.is_floating_point
        same = tuple(mine.shape) == entry.shape or entry.name in cut
        if not same or (mine.dtype != entry.dtype and not castable):
            raise ArtifactError(
                f"{entry.name} is {list(entry.shape)} {entry.dtype} in the file and {list(mine.shape)} "
                f"{mine.dtype} in the model; build the model with the file's sizes"
            )
    held = {entry.name for entry in layout}
    for name, value in own.items():
        if name not in held:
            shape = f" {list(value.shape)}" if isinstance(value, Tensor) else ""
            raise ArtifactError(f"the file holds no {name}{shape}, which the model has")


def check_numbers(model: nn.Module, state: Mapping[str, Tensor], trainable: bool) -> None:
    """Checks that a model can take the numbers of a file.

    Args:
        model: The model.
        state: The numbers by plain names.
        trainable: Whether they are to be trained.

    Raises:
        ArtifactError: The model ties what differs in the file, or numbers to be trained are NaN or inf.
    """
    conflict = conflicting_tie(model, state)
    if conflict:
        raise ArtifactError(
            "the model ties {} to {}, the file holds different numbers for them; load it into a network "
            "without that tie".format(*conflict)
        )
    for name, value in state.items() if trainable else ():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ArtifactError(
                f"{name} holds NaN or inf and cannot be trained; load it without trainable=True"
            )


def check_widths(model: nn.Module, fit: Fit, widths: Mapping[str, int]) -> None:
    """Checks that widths are those that the layers of a model are going to have.

    Args:
        model: The model.
        fit: What is going to change in it.
        widths: How many outputs layers have, by name.

    Raises:
        ArtifactError: There is no such layer, or its tensors have another number of outputs.
    """
    layers = layer_widths(model) | fit.widths
    sizes = {f"{size.layer}.{size.attribute}": number for size, number in fit.sizes.items()}
    for layer, number in widths.items():
        require_known("layer in widths", layer, layers | sizes, ArtifactError)
        found = (layers | sizes)[layer]
        if found != number:
            raise ArtifactError(f"the tensors give {layer} {found} outputs and the widths {number}")
