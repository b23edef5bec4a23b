"""Which channels will go, as a value that can be printed, kept and carried out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from pithnet.surgery import Channels, cut_channels, cut_channels_, mask_channels, require_agreement

_QUICKLY_WEIGHED = 1 << 21  # parameters; a file of more takes a second or longer


@dataclass(frozen=True)
class GroupWidth:
    """What becomes of a group of channels.

    Attributes:
        layers: Names of the layers whose outputs they are.
        width: How many channels there are.
        kept: How many stay.
        whole: Why all of them have to stay; None where there was a choice.
    """

    layers: tuple[str, ...]
    width: int
    kept: int
    whole: str | None


@dataclass(frozen=True, eq=False)
class ShrinkPlan:
    """Which channels of a network go, and what it costs without them. `print(plan)` shows a table.

    Attributes:
        network: The network's class.
        rows: What becomes of each group of channels, in the order of the forward.
        widths: How many outputs each layer keeps, by name.
        macs: Multiply-accumulates for the example without the channels.
        parameters: Numbers in its parameters without the channels.
        full_macs: Multiply-accumulates of the network as it is.
        full_parameters: Numbers in its parameters as it is.
        removed: The channels that go, as `channels` numbers them.
        channels: All channels of the network.
        model: The network.
        example: The inputs that it was planned with.
        weigh: Gives the bytes that a network's file takes.
        in_full: Names of operations whose multiply-accumulates are counted in full, because it is not known
            what they are in proportion to.
    """

    network: str
    rows: tuple[GroupWidth, ...]
    widths: Mapping[str, int]
    macs: int
    parameters: int
    full_macs: int
    full_parameters: int
    removed: frozenset[int]
    channels: Channels
    model: nn.Module
    example: Any
    weigh: Callable[[nn.Module], int]
    in_full: tuple[str, ...] = ()

    @cached_property
    def bytes(self) -> int:
        """The bytes of the file without the channels, written in memory when they are first asked for."""
        return self.weigh(cut_channels(self.model, self.channels, self.removed))

    @cached_property
    def full_bytes(self) -> int:
        """The bytes of the file of the network as it is, in the same way."""
        return self.weigh(self.model)

    def mask(self) -> nn.Module:
        """Returns a copy of the network in its full size, in which the channels are zero."""
        return mask_channels(self.model, self.channels, self.removed)

    def cut(self) -> nn.Module:
        """Returns a copy of the network without the channels.

        On the example it gives what `mask` gives, which is checked in eval mode and float64.

        Raises:
            ModelError: It does not, as where a size is built into forward; the message names the layer.
        """
        small = cut_channels(self.model, self.channels, self.removed)
        require_agreement(small, self.mask(), self.example, self.channels, self.removed)
        return small

    def cut_(self) -> None:
        """Takes the channels out of the network itself, in place; its parameters are replaced.

        Raises:
            ModelError: The network without the channels would give something else, as `cut` says; nothing has
                changed then.
        """
        self.cut()
        cut_channels_(self.model, self.channels, self.removed)

    def to_json(self) -> str:
        """Returns the widths and the costs as JSON: {"widths": {layer: outputs}, "macs": ...}.

        Beside the layers' widths stands how many zero channels a shortcut by padding puts first, under
        "layer2.0.shortcut.before": `zoo.build(name, widths=...)` takes the whole table.
        """
        counts = self.channels.counts(self.removed)
        zeros = {f"{s.layer}.before": number for s, number in counts.items() if s.attribute == "before"}
        widths = {**self.widths, **zeros}
        content = {"widths": widths, "macs": self.macs, "parameters": self.parameters}
        return json.dumps(content, indent=2)

    @property
    def _is_weighed(self) -> bool:
        """Whether it takes no time to say how many bytes there are."""
        return {"bytes", "full_bytes"} <= vars(self).keys() or self.full_parameters <= _QUICKLY_WEIGHED

    def __str__(self) -> str:
        rows = [("channels of", "width", "kept", "")]
        rows += [(_named(r.layers), str(r.width), str(r.kept), r.whole or "") for r in self.rows]
        first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
        lines = [f"{a:<{first}}  {b:>{second}}  {c:>{third}}  {d}".rstrip() for a, b, c, d in rows]
        costs: tuple[tuple[str, int, int], ...]
        costs = (("MACs", self.full_macs, self.macs), ("parameters", self.full_parameters, self.parameters))
        if self._is_weighed:
            costs += (("bytes", self.full_bytes, self.bytes),)
        lines += [f"{name}: {full:,} -> {small:,} ({small / full:.1%})" for name, full, small in costs]
        if self.in_full:
            lines.append(f"the MACs of {', '.join(self.in_full)} are counted in full, and may be fewer")
        channels = sum(row.width for row in self.rows)
        if not self._is_weighed:
            lines.append("bytes: plan.bytes writes the file to count them")
        return "\n".join([f"{self.network} without {len(self.removed)} of {channels} channels", *lines])


def _named(layers: tuple[str, ...]) -> str:
    shown = ", ".join(layers[:2])
    return shown if len(layers) < 3 else f"{shown} and {len(layers) - 2} more"
