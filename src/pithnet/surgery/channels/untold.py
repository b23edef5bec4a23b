"""What the shapes of a small network's tensors do not tell of how it was cut, as plain data for files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from pithnet.errors import ModelError
from pithnet.surgery.channels.rewriting import rewritten_sizes
from pithnet.surgery.channels.symbols import Argument, Size
from pithnet.surgery.graph.inputs import REQUIRED, is_constant
from pithnet.surgery.wrappers import plain_key

_KEPT = "_untold_sizes"
_OUTPUTS = ("out_channels", "out_features", "embedding_dim")
_LARGEST = 1 << 31
_MOST = 1 << 16


@dataclass(frozen=True)
class Untold:
    """Numbers that a full-size network is to be given beside tensors of other shapes.

    Attributes:
        sizes: Attributes of modules by name, such as "shortcut.before" or "conv.groups".
        written: Numbers in the code of the forward.
        given: The arguments that the forward was followed with, as `given_to` gives them.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[Argument, int] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> list[Any]:
        """Returns nested lists, numbers and strings: [sizes, [[node, path, number], ...], given]."""
        written = [
            [node, list(path), number] for (node, path), number in sorted(self.written.items(), key=str)
        ]
        given = {name: [] if value is REQUIRED else [value] for name, value in self.given.items()}
        return [dict(sorted(self.sizes.items())), written, given if written else {}]

    @classmethod
    def from_plain(cls, content: object) -> Untold:
        """Reads what `to_plain` gave.

        Args:
            content: Nested lists, numbers and strings, of a file that anyone may have written.

        Raises:
            ModelError: It is of another form.
        """
        match content:
            case [dict(sizes), list(written), dict(given)] if _plausible(sizes, written, given):
                found = {Argument(node, tuple(path)): number for node, path, number in written}
                values = {name: value[0] if value else REQUIRED for name, value in given.items()}
                return cls(sizes, found, values)
        raise ModelError("what is said of the sizes of a network without some channels has another form")


def _plausible(sizes: dict[Any, Any], written: list[Any], given: dict[Any, Any]) -> bool:
    return (
        max(len(sizes), len(written), len(given)) <= _MOST
        and all(isinstance(k, str) and _is_number(n, 0) for k, n in sizes.items())
        and all(_is_written(entry) for entry in written)
        and all(isinstance(k, str) and _is_given(value) for k, value in given.items())
    )


def _is_number(value: object, least: int) -> bool:
    return type(value) is int and least <= value < _LARGEST


def _is_written(entry: object) -> bool:
    match entry:
        case [str(), [_, *_] as path, number] if _is_number(number, -1):
            return len(path) <= 16 and all(type(step) in (int, str) for step in path)
    return False


def _is_given(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 1 and all(is_constant(part) for part in value)


def note_sizes_(small: nn.Module, before: Mapping[Size, int], after: Mapping[Size, int]) -> None:
    """Lets a network that was cut keep the sizes that changed and that its tensors do not tell, in place.

    Args:
        small: The network.
        before: What attributes counted.
        after: What they count.
    """
    found = dict(vars(small).get(_KEPT, {}))
    for size, number in after.items():
        name = f"{size.layer}.{size.attribute}".lstrip(".")
        module = small.get_submodule(size.layer)
        if (name in found or number != before[size]) and told(module).get(size.attribute) != number:
            found[name] = number
    if found:
        setattr(small, _KEPT, found)


def untold_of(model: nn.Module) -> Untold:
    """Returns what the shapes of a network's tensors do not tell; nothing where it was never cut.

    Args:
        model: The network, as `cut_channels` gave it.
    """
    written, given = rewritten_sizes(model)
    return Untold(dict(vars(model).get(_KEPT, {})), written, given)


def told(module: nn.Module) -> dict[str, int]:
    """Returns what the shapes of a layer's tensors tell of its attributes.

    Args:
        module: The layer; in how many groups a convolution works its own attribute says.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):  # a list of parametrizations is called so, too
        mean = getattr(module, "running_mean", None)
        return {} if mean is None or not isinstance(module, _NormBase) else {"num_features": len(mean)}
    return told_by(module, tuple(weight.shape), getattr(module, "groups", 1))


def told_by(module: nn.Module, shape: tuple[int, ...], groups: int) -> dict[str, int]:
    """Returns what the shape of a layer's weight tells of its attributes.

    Args:
        module: The layer.
        shape: The shape that its weight has or is to have.
        groups: In how many groups a convolution works.
    """
    match module:
        case _ConvNd(transposed=True):
            return {"in_channels": shape[0], "out_channels": shape[1] * groups}
        case _ConvNd():
            return {"out_channels": shape[0], "in_channels": shape[1] * groups}
        case nn.Linear():
            return {"out_features": shape[0], "in_features": shape[1]}
        case nn.Embedding():
            return {"embedding_dim": shape[1]}
        case _NormBase():
            return {"num_features": shape[0]}
        case nn.GroupNorm():
            return {"num_channels": shape[0]}
        case nn.PReLU():
            return {"num_parameters": shape[0]}
    return {}


def layer_widths(model: nn.Module) -> dict[str, int]:
    """Returns how many outputs each convolution, linear layer and embedding has, by name.

    Args:
        model: Any network.
    """
    return outputs_of(
        {
            Size(plain_key(f"{path}.").rstrip("."), attribute): number
            for path, module in model.named_modules()
            for attribute, number in told(module).items()
        }
    )


def outputs_of(sizes: Mapping[Size, int]) -> dict[str, int]:
    """Returns those of some sizes that count the outputs of a layer, by the layer's name.

    Args:
        sizes: The sizes.
    """
    return {size.layer: number for size, number in sizes.items() if size.attribute in _OUTPUTS}
