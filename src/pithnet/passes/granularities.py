"""Which weights go together: one by one, in kernels, filters, channels and neurons, or N of every M."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from pithnet.errors import RecipeError, lookup
from pithnet.passes.scopes import SCOPES
from pithnet.surgery import Weighted
from pithnet.tensor import n_of_m_mask

Layers = Sequence[tuple[str, Weighted]]
_SAME = 1e-6


def axes_of(layer: Weighted, groups: str) -> tuple[int, ...]:
    """Returns the axes of a weight along which its filters (outputs) or channels (inputs) lie.

    That is one axis, and the experts' beside it where a weight holds a matrix for each of several.

    Args:
        layer: The weight.
        groups: "filters" or "channels".
    """
    *experts, outputs = layer.channel_axes
    inputs = next((d for d in range(layer.weight.ndim) if d not in layer.channel_axes), outputs)
    if isinstance(layer.holders[0].module, _ConvTransposeNd | nn.Embedding):
        outputs, inputs = inputs, outputs
    return (*experts, outputs if groups == "filters" else inputs)


def span(layer: Weighted, groups: str) -> tuple[int, ...]:
    """Returns the dimensions that one filter or channel of the layer covers."""
    return _others(layer, axes_of(layer, groups))


def group_count(layer: Weighted, groups: str) -> int:
    """Returns how many filters or channels the layer has."""
    return math.prod(layer.weight.shape[axis] for axis in axes_of(layer, groups))


def _others(layer: Weighted, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d for d in range(layer.weight.ndim) if d not in axes)


def _kernel(layer: Weighted) -> tuple[int, ...]:
    return _others(layer, (*axes_of(layer, "filters"), *axes_of(layer, "channels")))


def _filter(layer: Weighted) -> tuple[int, ...]:
    return span(layer, "filters")


def _channel(layer: Weighted) -> tuple[int, ...]:
    return span(layer, "channels")


class Granularity(Protocol):
    """Which weights a mask takes together."""

    @property
    def rises(self) -> bool:
        """Whether its sparsity may be any number, and so rise over a training."""

    def amount(self, sparsity: float | None) -> float:
        """Returns the sparsity that `prune` was asked for.

        Raises:
            RecipeError: There is none, or one that cannot be.
        """

    def title(self, scope: str, sparsity: float) -> str:
        """Returns what is pruned, for records."""

    def masks(self, layers: Layers, scores: Sequence[Tensor], scope: str, sparsity: float) -> list[Tensor]:
        """Returns a mask for each layer, of its weight's shape; scores below 0 stand for what is gone."""

    def gone(self, layer: Weighted, mask: Tensor) -> tuple[int, ...] | None:
        """Returns the numbers of the groups that are gone as a whole, None where nobody counts them."""


@dataclass(frozen=True)
class Weights(Granularity):
    """Single weights."""

    rises = True

    def amount(self, sparsity: float | None) -> float:
        return _share(sparsity)

    def title(self, scope: str, sparsity: float) -> str:
        return f"{scope} {sparsity:.4g}"

    def masks(self, layers: Layers, scores: Sequence[Tensor], scope: str, sparsity: float) -> list[Tensor]:
        return SCOPES[scope](scores, sparsity)

    def gone(self, layer: Weighted, mask: Tensor) -> tuple[int, ...] | None:
        return None


@dataclass(frozen=True)
class Groups(Weights):
    """Whole groups of weights.

    Attributes:
        name: The granularity's.
        span: The axes of a layer's weight that one group covers.
        counted: Whether records say which groups are gone.
    """

    name: str
    span: Callable[[Weighted], tuple[int, ...]]
    counted: bool = True

    def title(self, scope: str, sparsity: float) -> str:
        return f"{self.name} {scope} {sparsity:.4g}"

    def masks(self, layers: Layers, scores: Sequence[Tensor], scope: str, sparsity: float) -> list[Tensor]:
        return SCOPES[scope](scores, sparsity, [self.span(layer) for _, layer in layers])

    def gone(self, layer: Weighted, mask: Tensor) -> tuple[int, ...] | None:
        if not self.counted:
            return None
        empty = ~mask.any(self.span(layer))
        return tuple(empty.flatten().nonzero().flatten().tolist())


@dataclass(frozen=True)
class NofM(Granularity):
    """N of every M neighbours along the axis of the inputs stay; every layer loses the same share."""

    n: int
    m: int

    rises = False

    def amount(self, sparsity: float | None) -> float:
        own = 1 - self.n / self.m
        if sparsity is not None and not math.isclose(sparsity, own, abs_tol=_SAME):
            raise RecipeError(
                f"granularity '{self.n}:{self.m}' has the sparsity {own:.6g} and no other, not {sparsity}; "
                "leave sparsity out"
            )
        return own

    def title(self, scope: str, sparsity: float) -> str:
        return f"{self.n}:{self.m}"

    def masks(self, layers: Layers, scores: Sequence[Tensor], scope: str, sparsity: float) -> list[Tensor]:
        axes = [axes_of(layer, "channels")[-1] for _, layer in layers]
        return [n_of_m_mask(s, self.n, self.m, axis) for s, axis in zip(scores, axes, strict=True)]

    def gone(self, layer: Weighted, mask: Tensor) -> tuple[int, ...] | None:
        return None


GRANULARITIES: dict[str, Granularity] = {
    "weight": Weights(),
    "kernel": Groups("kernel", _kernel, counted=False),
    "filter": Groups("filter", _filter),
    "channel": Groups("channel", _channel),
    "row": Groups("row", _filter),
    "neuron": Groups("neuron", _filter),
}


def get_granularity(name: str) -> Granularity:
    """Returns the granularity called `name`, one of GRANULARITIES or "N:M" with numbers, such as "2:4".

    Raises:
        RecipeError: The name is unknown, or N:M keeps none or all.
    """
    found = re.fullmatch(r"(\d+):(\d+)", name)
    if found is None:
        advice = "For N of every M neighbouring weights write N:M, such as 2:4."
        return lookup("granularity", name, GRANULARITIES, RecipeError, advice)
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m:
        raise RecipeError(f"granularity {name!r} keeps none or all; write N:M with N from 1 to M - 1")
    return NofM(n, m)


def _share(sparsity: float | None) -> float:
    if sparsity is None:
        raise RecipeError("sparsity is missing; give the share of the weights that is to be zero, as in 0.5")
    if not 0 <= sparsity <= 1:
        raise RecipeError(f"sparsity is a share of the weights, from 0 to 1, not {sparsity}")
    return sparsity
