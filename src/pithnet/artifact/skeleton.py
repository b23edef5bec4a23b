"""A zoo network without memory for its numbers: its layout, ready to fill, for a fraction of building it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from pithnet.artifact.metadata import Argument
from pithnet.errors import ArtifactError, PithError
from pithnet.zoo import build_weightless

_LARGEST_ARGUMENT = 1 << 20
_LONGEST_ARGUMENT = 100


def skeleton(architecture: str, arguments: Mapping[str, Argument]) -> nn.Module:
    """Returns the zoo's network of that name with all tensors on the meta device.

    Args:
        architecture: The network's name.
        arguments: Arguments of its constructor, as a file's header gives them.

    Raises:
        ArtifactError: The architecture is unknown, or the arguments are not its own or out of reason.
    """
    for name, value in arguments.items():
        if isinstance(value, str) and len(value) > _LONGEST_ARGUMENT:
            raise ArtifactError(f"header: {architecture} cannot have a {name} of {len(value)} characters")
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not 0 < value <= _LARGEST_ARGUMENT
        ):
            raise ArtifactError(f"header: {architecture} cannot have {name} = {value!r}")
    given: dict[str, Any] = dict(arguments)
    try:
        return build_weightless(architecture, **given)
    except (PithError, RuntimeError, TypeError, ValueError, ArithmeticError) as e:
        raise ArtifactError(f"header: {architecture} cannot be built: {e}") from e
