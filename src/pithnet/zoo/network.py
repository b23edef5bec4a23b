"""What all networks of the zoo have in common: they know how they are built again."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.zoo.widths import BEFORE

Architecture = tuple[str, dict[str, Any]]


class PadShortcut(nn.Module):
    """Shortcut A: (N, C, H, W) -> (N, before + C + after, ceil(H/2), ceil(W/2)); new channels are zero.

    Args:
        before: New channels on the one side.
        after: New channels on the other side.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class ZooNetwork(nn.Module):
    """A network that `build` makes, of the usual or other widths."""

    _built: tuple[Architecture, dict[str, int]] | None = None

    @property
    def architecture(self) -> Architecture | None:
        """The name and the arguments that `build` makes a network of this size of.

        Where channels were removed, `widths` among the arguments is a tuple of all numbers; where no widths
        give such a network, the arguments are those that it was built with.
        """
        if self._built is None:
            return None
        (name, arguments), widths = self._built
        now = widths_of(self)
        if now == widths:
            return name, dict(arguments)
        from pithnet.zoo.weightless import build_weightless  # which imports all networks

        rest = {key: value for key, value in arguments.items() if key != "widths"}
        try:
            return build_weightless(name, **rest, widths=now).architecture
        except ModelError:
            return name, dict(arguments)

    @architecture.setter
    def architecture(self, built: Architecture) -> None:
        self._built = built, widths_of(self)


def widths_of(model: nn.Module) -> dict[str, int]:
    """Returns how many outputs each convolution and linear layer of a zoo network has, by name.

    Beside them stands how many zero channels each shortcut by padding puts first.

    Args:
        model: The network, of any widths.
    """
    found: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            found[name] = module.out_channels
        elif isinstance(module, nn.Linear):
            found[name] = module.out_features
        elif isinstance(module, PadShortcut):
            found[name + BEFORE] = module.before
    return found


def shortcut_sizes(model: nn.Module) -> dict[str, int]:
    """Returns the numbers of zero channels of a zoo network's shortcuts, by the names of the attributes.

    Args:
        model: The network, of any widths.
    """
    pads = [(name, module) for name, module in model.named_modules() if isinstance(module, PadShortcut)]
    return {f"{name}.{side}": getattr(module, side) for name, module in pads for side in ("before", "after")}
