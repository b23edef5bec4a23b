"""The numbers that a channel has, in every tensor in which it has any: what criteria for channels look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pithnet.surgery import Channels, Group, held_tensors
from pithnet.surgery.channels.symbols import Place


@dataclass(frozen=True)
class Member:
    """An axis of a tensor along which the channels of a group lie.

    Attributes:
        place: The tensor's key and the axis.
        positions: Where the channels lie along the axis, int64 (channels, positions of a channel), in the
            order of the group's channels.
    """

    place: Place
    positions: Tensor

    def rows(self, value: Tensor) -> Tensor:
        """Returns the numbers of each channel, (channels, numbers), in the tensor's dtype and on its device.

        Args:
            value: The tensor, or one of its shape.
        """
        at = self.positions.flatten().to(value.device)
        rows = value.detach().movedim(self.place.axis, 0).index_select(0, at)
        return rows.reshape(len(self.positions), -1)

    def with_rows(self, value: Tensor, rows: Tensor) -> Tensor:
        """Returns a copy of the tensor in which the channels have other numbers.

        Args:
            value: The tensor.
            rows: The numbers, as `rows` gives them.
        """
        found = value.detach().clone()
        moved = found.movedim(self.place.axis, 0)
        moved[self.positions.flatten().to(value.device)] = rows.reshape(
            self.positions.numel(), *moved.shape[1:]
        )
        return found


def tensor_at(model: nn.Module, key: str) -> Tensor:
    """Returns the tensor that a layer computes with, parametrizations applied.

    Args:
        model: The network.
        key: The tensor's name in a plain state_dict.
    """
    path, _, name = key.rpartition(".")
    value: Tensor = getattr(model.get_submodule(path), name)
    return value


def filters(channels: Channels, group: Group) -> list[Member]:
    """Returns the weights whose outputs the channels are, in the order of the forward.

    Args:
        channels: All channels of the network.
        group: Those that are meant.
    """
    return [_member(channels, group, place) for place in channels.makers if place in group.share]


def slices(model: nn.Module, channels: Channels, group: Group) -> list[Member]:
    """Returns the weights that read the channels, in the order of the forward.

    Args:
        model: The network.
        channels: All its channels.
        group: Those that are meant.
    """
    return [_member(channels, group, p) for p in _read(channels, group, _parameters(model, matrices=True))]


def own_numbers(model: nn.Module, channels: Channels, group: Group) -> list[Member]:
    """Returns the parameters that make the channels: filters, biases, and scale and shift of norms.

    Where all of a channel's are zero, it is zero, after its norm too. No number belongs to two groups.

    Args:
        model: The network.
        channels: All its channels.
        group: Those that are meant.
    """
    more = _read(channels, group, _parameters(model, matrices=False))
    return [*filters(channels, group), *(_member(channels, group, place) for place in more)]


def _read(channels: Channels, group: Group, keys: set[str]) -> list[Place]:
    return [place for place in group.share if place not in channels.makers and place.key in keys]


def _parameters(model: nn.Module, matrices: bool) -> set[str]:
    """Returns the keys of weights with more than one axis, or of the others without slopes of activations."""
    return {
        first.keys[0]
        for first, *_ in held_tensors(model)
        if not isinstance(first.module, nn.PReLU)
        and (getattr(first.module, first.tensor).ndim > 1) == matrices
    }


def scales(model: nn.Module, channels: Channels, group: Group) -> list[Member]:
    """Returns the factors by which norms scale the channels (gamma), in the order of the forward.

    Args:
        model: The network.
        channels: All its channels.
        group: Those that are meant.
    """
    return [_member(channels, group, place) for place in group.share if _is_scale(model, place)]


def _is_scale(model: nn.Module, place: Place) -> bool:
    path, _, name = place.key.rpartition(".")
    return name == "weight" and isinstance(model.get_submodule(path), _NormBase | nn.GroupNorm)


def _member(channels: Channels, group: Group, place: Place) -> Member:
    at = channels.places[place]
    own = torch.isin(at, torch.tensor(group.channels)).nonzero().flatten()
    return Member(place, own[at[own].argsort(stable=True)].view(group.width, -1))


def each_key(members: list[list[Member]]) -> Iterator[str]:
    """Yields the key of each tensor that members are of, once.

    Args:
        members: Members of several groups.
    """
    yield from dict.fromkeys(member.place.key for own in members for member in own)
