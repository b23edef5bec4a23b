"""A full-size network made as small as the tensors of a file; what is wrong is found before it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from pithnet.errors import ModelError, nearest
from pithnet.surgery.channels.rewriting import rewriting
from pithnet.surgery.channels.symbols import Size
from pithnet.surgery.channels.untold import Untold, note_sizes_, outputs_of, told_by
from pithnet.surgery.wrappers import plain_key

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fit:
    """Changes that are all known to be possible.

    Attributes:
        model: The network.
        shapes: The shapes of the tensors that change, by the tensor's name in a plain state_dict.
        sizes: The numbers of the attributes that change.
        rewrite_: Gives the network its other forward; it does nothing where no number in the code changes.
    """

    model: nn.Module
    shapes: Shapes
    sizes: Mapping[Size, int]
    rewrite_: Callable[[], None]

    @property
    def widths(self) -> dict[str, int]:
        """How many outputs layers are to have whose tensors change, by name."""
        return outputs_of(self.sizes)

    @torch.no_grad()
    def apply_(self) -> None:
        """Makes the network as small as it is to be, in place; its new parameters hold any numbers."""
        before = {size: getattr(self.model.get_submodule(size.layer), size.attribute) for size in self.sizes}
        for size, number in self.sizes.items():
            setattr(self.model.get_submodule(size.layer), size.attribute, number)
        made: dict[int, torch.Tensor] = {}  # a tensor that several modules hold stays one
        for path, module in self.model.named_modules(remove_duplicate=False):
            for tensors in (module._parameters, module._buffers):
                for name, value in tensors.items():
                    shape = self.shapes.get(plain_key(f"{path}.{name}".lstrip(".")))
                    if value is not None and shape is not None and tuple(value.shape) != shape:
                        tensors[name] = made.setdefault(id(value), _smaller(value, shape))
        note_sizes_(self.model, before, self.sizes)
        self.rewrite_()


def _smaller(value: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    found = value.detach().new_empty(shape)
    return nn.Parameter(found, value.requires_grad) if isinstance(value, nn.Parameter) else found


def fitting(model: nn.Module, shapes: Shapes, untold: Untold) -> Fit | None:
    """Finds out how a network becomes as small as tensors of other shapes ask for; it is left alone.

    Args:
        model: The full-size network.
        shapes: The shapes by the names of a plain state_dict, of all its tensors.
        untold: What shapes do not tell, as `untold_of` says it of the network they come from.

    Returns:
        The changes, None where the network has these shapes already.

    Raises:
        ModelError: A tensor would have to grow, or is one of a module of torch's that cannot be cut so, or
            has a shape that does not fit the others of its module; or the network has no such attribute or
            number in its forward. The message names it.
    """
    own = {plain_key(key): value for key, value in model.state_dict().items()}
    other = {k: s for k, s in shapes.items() if k in own and tuple(own[k].shape) != s}
    if not other:
        return None
    for key, shape in other.items():
        _check_smaller(key, tuple(own[key].shape), shape)
    _check_ties(model, other)
    sizes = dict(_told_sizes(model, other, untold))
    for name, number in untold.sizes.items():
        size = _attribute(model, name)
        _check_size(model, size, number, sizes)
        sizes[size] = number
    return Fit(model, other, sizes, rewriting(model, (untold.written, untold.given)))


def _check_smaller(key: str, mine: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if len(mine) != len(shape) or any(a < b for a, b in zip(mine, shape, strict=True)) or 0 in shape:
        raise ModelError(
            f"{key} is {list(shape)} in the file and {list(mine)} in the model, which can lose channels "
            "and no more; build the model with the file's sizes"
        )


def _check_ties(model: nn.Module, other: Shapes) -> None:
    first: dict[int, str] = {}
    for key, value in model.state_dict(keep_vars=True).items():
        key = plain_key(key)
        holder = first.setdefault(id(value), key)
        if other.get(key) != other.get(holder):
            raise ModelError(f"the model ties {holder} to {key}, and the file has other shapes for them")


def _told_sizes(model: nn.Module, other: Shapes, untold: Untold) -> dict[Size, int]:
    found: dict[Size, int] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        path = plain_key(f"{path}.").rstrip(".")
        start = f"{path}." if path else ""
        names = [*module._parameters, *module._buffers]
        shapes = {name: other[start + name] for name in names if start + name in other}
        if not shapes:
            continue
        first = shapes.get("weight") or next(iter(shapes.values()))
        groups = _groups(path, module, first, untold)
        told = told_by(module, first, groups)
        if not told and type(module).__module__.startswith("torch."):
            raise ModelError(
                f"{start}{next(iter(shapes))} has another shape in the file, and a {type(module).__name__} "
                "cannot lose channels; build the model with the file's sizes"
            )
        if told:
            _check_layer(path, module, shapes, told)
        told |= {"groups": groups} if isinstance(module, _ConvNd) and groups != module.groups else {}
        told |= _norm_groups(path, module, first) if isinstance(module, nn.GroupNorm) else {}
        found |= {Size(path, attribute): number for attribute, number in told.items()}
    return found


def _groups(path: str, module: nn.Module, shape: tuple[int, ...], untold: Untold) -> int:
    """Returns in how many groups a convolution works; a depthwise one in as many as it has channels."""
    if not isinstance(module, _ConvNd):
        return 1
    groups = module.groups
    if groups == module.in_channels > 1:
        each = 1 if module.transposed else module.out_channels // groups
        if shape[0] % each:
            raise ModelError(f"{path} gives {each} outputs for each input, and the file has {shape[0]}")
        groups = shape[0] // each
    said = untold.sizes.get(f"{path}.groups", groups)
    if groups == module.groups > said > 0 and _loses_groups(module, shape, said):
        groups = said
    if said != groups or shape[0] % groups:
        raise ModelError(f"{path} works in {said} groups, and its weight is {list(shape)} in the file")
    return groups


def _loses_groups(module: _ConvNd, shape: tuple[int, ...], groups: int) -> bool:
    """Tells whether a convolution in groups has come down to one input in each; then whole groups go."""
    if module.transposed:
        return shape[0] == groups and module.in_channels > module.groups
    ins, outs = module.in_channels // module.groups, module.out_channels // module.groups
    return shape[1] == 1 < ins and shape[0] % groups == 0 and shape[0] // groups <= outs


def _norm_groups(path: str, module: nn.GroupNorm, shape: tuple[int, ...]) -> dict[str, int]:
    each = module.num_channels // module.num_groups
    if shape[0] % each:
        raise ModelError(f"{path} has {each} channels in a group, and the file {shape[0]} channels")
    return {"num_groups": shape[0] // each}


def _check_layer(path: str, module: nn.Module, shapes: Shapes, told: Mapping[str, int]) -> None:
    """Refuses kernels of another size, and vectors of other lengths than the weight says."""
    outputs = next(told[name] for name in ("out_channels", "out_features", *told) if name in told)
    for name, value in [*module._parameters.items(), *module._buffers.items()]:
        if value is None:
            continue
        shape, mine = shapes.get(name, tuple(value.shape)), tuple(value.shape)
        fixed = 1 if isinstance(module, nn.Embedding) else 0
        wrong = shape[:fixed] != mine[:fixed] or shape[2:] != mine[2:]
        if wrong or (len(shape) == 1 and shape[0] != outputs):
            raise ModelError(
                f"{path}.{name} is {list(shape)} in the file, which does not go with {outputs} channels of "
                f"{path} and {list(mine)} in the model"
            )


def _attribute(model: nn.Module, name: str) -> Size:
    path, _, attribute = name.rpartition(".")
    modules = {plain_key(f"{key}.").rstrip("."): module for key, module in model.named_modules()}
    if path not in modules or type(vars(modules[path]).get(attribute)) is not int:
        raise ModelError(
            f"the file gives {name} a number, and the model has no such size."
            f"{nearest(path, filter(None, modules))}"
        )
    return Size(path, attribute)


def _check_size(model: nn.Module, size: Size, number: int, told: Mapping[Size, int]) -> None:
    """Refuses a number for a layer of torch's that its tensors contradict."""
    module = model.get_submodule(size.layer)
    if not type(module).__module__.startswith("torch."):
        return
    has_tensors = any(
        value is not None for value in (*module._parameters.values(), *module._buffers.values())
    )
    wrong = number != told.get(size, getattr(module, size.attribute)) if has_tensors else number < 1
    if wrong:
        raise ModelError(f"the file gives {size.layer}.{size.attribute} as {number}, which does not fit it")
