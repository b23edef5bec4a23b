"""Calls of functions that are given their weights as tensors, read as the modules of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "linear": ("input", "weight", "bias"),
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose": (
        "input",
        "weight",
        "bias",
        "stride",
        "padding",
        "output_padding",
        "groups",
        "dilation",
    ),
    "embedding": ("input", "weight", "padding_idx", "max_norm"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias"),
    "group_norm": ("input", "num_groups", "weight", "bias"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias"),
    "rms_norm": ("input", "normalized_shape", "weight"),
    "prelu": ("input", "weight"),
}


class Called:
    """A call of a function of torch.nn.functional, read as the module of the same kind.

    Args:
        node: The node that calls it.
        called: The function's name.
        values: What nodes before it gave.
    """

    def __init__(self, node: fx.Node, called: str, values: Mapping[fx.Node, Any]) -> None:
        self._node, self._values = node, values
        self._names = _SIGNATURES.get(called) or _SIGNATURES.get(called.rstrip("123d"), ())
        self.transposed = called.startswith("conv_transpose")

    @property
    def is_known(self) -> bool:
        """Whether it is known which argument is which."""
        return bool(self._names)

    def where(self, name: str) -> tuple[int, str] | None:
        """Returns the place and the name of an argument that is given, None for another."""
        if name not in self._names:
            return None
        place = self._names.index(name)
        is_given = len(self._node.args) > place or name in self._node.kwargs
        return (place, name) if is_given else None

    def raw(self, name: str) -> Any:
        """Returns an argument as it stands in the graph, None where it is not given."""
        found = self.where(name)
        if found is None:
            return None
        place, _ = found
        return self._node.args[place] if len(self._node.args) > place else self._node.kwargs[name]

    def __getattr__(self, name: str) -> Any:
        """Returns the value of an argument, None where it is not given."""
        if name.startswith("_"):
            raise AttributeError(name)
        return fx.map_arg(self.raw(name), lambda node: self._values[node])

    @property
    def groups(self) -> int:
        """How many groups a convolution works in."""
        return int(fx.map_arg(self.raw("groups"), lambda node: self._values[node]) or 1)

    @property
    def in_channels(self) -> int:
        """How many input channels a convolution has."""
        return int(self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups)

    @property
    def out_channels(self) -> int:
        """How many output channels a convolution has."""
        return int(self.weight.shape[1] * self.groups if self.transposed else self.weight.shape[0])

    @property
    def out_features(self) -> int:
        """How many outputs a linear layer has."""
        return int(self.weight.shape[0])

    @property
    def embedding_dim(self) -> int:
        """How many numbers a row of a table has."""
        return int(self.weight.shape[1])
