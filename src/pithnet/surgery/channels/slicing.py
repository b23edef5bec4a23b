"""Copies of a network without some of its channels, or with these channels zero."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.surgery.channels.groups import Channels
from pithnet.surgery.channels.rewriting import rewrite_
from pithnet.surgery.channels.symbols import Place
from pithnet.surgery.channels.untold import note_sizes_
from pithnet.surgery.weights.fake_quantizers import FakeQuantizer
from pithnet.surgery.weights.holders import Holder, held_tensors
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS, Codebook
from pithnet.surgery.wrappers import unwrapped


def foreign(model: nn.Module, places: Iterable[Place]) -> dict[Place, str]:
    """Returns the places in tensors under a parametrization of another library, each with the reason to stay.

    Args:
        model: The network.
        places: Axes of its tensors.
    """
    found, holders = {}, _holders(model)
    for place in places:
        parts = _chain(holders[place.key][0]) if place.key in holders else ()
        others = [type(part).__name__.strip("_") for part in parts if not isinstance(part, PARAMETRIZATIONS)]
        if others:
            found[place] = (
                f"{place.key} is under {others[0]}, which cannot lose channels: take it off before, with "
                "torch.nn.utils.parametrize.remove_parametrizations or by pn.finalize"
            )
    return found


def unsaved(model: nn.Module, places: Iterable[Place]) -> dict[Place, str]:
    """Returns the places in buffers that no file keeps, each with the reason to stay.

    A new network makes them anew, in full size, and could not be given its numbers from a file.

    Args:
        model: The network.
        places: Axes of its tensors.
    """
    names = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules(remove_duplicate=False)
        for name in module._non_persistent_buffers_set
    }
    return {
        place: f"{place.key} is a buffer that no file keeps: register it with persistent=True"
        for place in places
        if place.key in names
    }


def uncuttable(model: nn.Module, channels: Channels) -> dict[Place, str]:
    """Returns the places at which no channel can be taken off, each with the reason.

    Those are tensors under a quantizer that rounds them in groups.

    Args:
        model: The network.
        channels: What `find_channels` found in it.
    """
    found = {}
    holders = _holders(model)
    for place in channels.places:
        parts = _chain(holders[place.key][0]) if place.key in holders else ()
        kept = [why for p in parts if isinstance(p, FakeQuantizer) and (why := p.keeps(place.axis))]
        if kept:
            found[place] = f"{place.key} is under a FakeQuantizer, which {kept[0]}"
    return found


@torch.no_grad()
def cut_channels(model: nn.Module, channels: Channels, removed: Collection[int]) -> nn.Module:
    """Makes a copy of a network without some of its channels.

    Args:
        model: The network, which is left alone.
        channels: What `find_channels` found in it.
        removed: Numbers of the channels that go. Where numbers in the code of forward count them, the
            copy gets a forward with other numbers.

    Returns:
        The small network, in the mode of the model; masks and codebooks on its weights go along.
    """
    small = copy.deepcopy(unwrapped(model))
    cut_channels_(small, channels, removed)
    return small


@torch.no_grad()
def cut_channels_(small: nn.Module, channels: Channels, removed: Collection[int]) -> None:
    """Takes channels out of a network in place, as `cut_channels` takes them out of a copy.

    Its parameters are replaced, so an optimizer is made anew.

    Args:
        small: The network.
        channels: What `find_channels` found in it.
        removed: Numbers of the channels that go.
    """
    holders = _holders(small)
    gone = channels.gone(removed)
    for place, found in channels.places.items():
        leave = gone[found]
        if not bool(leave.any()):
            continue
        kept = (~leave).nonzero().flatten()
        if place.key in holders:
            _take_(holders[place.key], place.axis, kept)
        else:
            owner, name = _owner(small, place.key)
            setattr(owner, name, _taken(owner.get_buffer(name), place.axis, kept))
    after = channels.counts(removed)
    for size, number in after.items():
        setattr(small.get_submodule(size.layer), size.attribute, number)
    note_sizes_(small, channels.counts(()), after)
    built_in = channels.rewritten(removed)
    if built_in:
        rewrite_(small, (built_in, channels.given))


@torch.no_grad()
def mask_channels(model: nn.Module, channels: Channels, removed: Collection[int]) -> nn.Module:
    """Makes a copy of a network of its full size, in which some channels are zero wherever they have numbers.

    That is in filters, biases and norms, and in the weights that read them: so whatever an activation makes
    of zero, it reaches nothing.

    Args:
        model: The network, which is left alone.
        channels: What `find_channels` found in it.
        removed: Numbers of the channels that are zero.
    """
    full = copy.deepcopy(unwrapped(model))
    mask_channels_(full, channels, removed)
    return full


@torch.no_grad()
def mask_channels_(full: nn.Module, channels: Channels, removed: Collection[int]) -> None:
    """Makes channels of a network zero in place, as `mask_channels` does in a copy.

    Args:
        full: The network.
        channels: What `find_channels` found in it.
        removed: Numbers of the channels that become zero.
    """
    holders = _holders(full)
    gone = channels.gone(removed)
    for place, found in channels.places.items():
        leave = gone[found]
        if place.key in holders and bool(leave.any()):
            _empty_(holders[place.key][0], place.axis, leave.nonzero().flatten())


def _holders(model: nn.Module) -> dict[str, tuple[Holder, ...]]:
    return {holders[0].keys[0]: holders for holders in held_tensors(model)}


def _owner(model: nn.Module, key: str) -> tuple[nn.Module, str]:
    path, _, name = key.rpartition(".")
    return model.get_submodule(path), name


def _taken(tensor: Tensor, axis: int, index: Tensor) -> Tensor:
    return tensor.index_select(axis, index.to(tensor.device))


def _list(holder: Holder) -> Any:
    if not parametrize.is_parametrized(holder.module, holder.tensor):
        return None
    lists: Any = holder.module.parametrizations
    return lists[holder.tensor]


def _chain(holder: Holder) -> Iterable[nn.Module]:
    found = _list(holder)
    return () if found is None else tuple(found)


def _smaller(parameter: nn.Parameter, axis: int, index: Tensor) -> nn.Parameter:
    return nn.Parameter(_taken(parameter.detach(), axis, index), requires_grad=parameter.requires_grad)


def _take_(holders: tuple[Holder, ...], axis: int, index: Tensor) -> None:
    """Keeps some entries along an axis of a parameter, for all its holders, with what is on it."""
    first = holders[0]
    found = _list(first)
    if found is None:
        smaller = _smaller(first.module._parameters[first.tensor], axis, index)  # type: ignore[arg-type]
        for holder in holders:
            holder.module._parameters[holder.tensor] = smaller
        return
    for place, part in enumerate(found):
        found[place] = part.taken(axis, index)
    if not isinstance(found[0], Codebook):  # of one the parameter is the codebook
        found.original = _smaller(found.original, axis, index)


def _empty_(holder: Holder, axis: int, index: Tensor) -> None:
    """Makes some entries along an axis of a parameter zero, under whatever is on it."""
    found = _list(holder)
    for part in found or ():
        if isinstance(part, Codebook):
            part.slots.index_fill_(axis, index.to(part.slots.device), 1)
            return
    value: Tensor = holder.module._parameters[holder.tensor] if found is None else found.original  # type: ignore
    value.index_fill_(axis, index.to(value.device), 0)
