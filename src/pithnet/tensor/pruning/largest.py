"""The k largest magnitudes: exact counts, and between equals the lower index is kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pithnet.errors import RecipeError

Dim = int | tuple[int, ...] | None


def largest(x: Tensor, k: int, dim: Dim = None) -> Tensor:
    """Returns a boolean mask of x's shape, True at exactly k places of every slice: those of largest |x|.

    Between equal magnitudes the lower flat index within the slice comes first. It takes time linear in the
    size.

    Args:
        x: Finite numbers.
        k: How many places of a slice.
        dim: The axis or the axes of a slice, all where None; the other axes are a batch.

    Raises:
        RecipeError: k is not between 0 and the numbers in a slice.
    """
    slices = _slices(x.detach().abs(), dim)
    n = slices.shape[-1]
    require_count(k, n)
    if k in (0, n):
        return torch.full_like(x, k > 0, dtype=torch.bool)
    cutoff = slices.kthvalue(n - k + 1, dim=-1, keepdim=True).values
    above, tied = slices > cutoff, slices == cutoff
    missing = k - above.sum(-1, keepdim=True)
    return _unsliced(above | (tied & (tied.cumsum(-1) <= missing)), x.shape, dim)


def slice_size(shape: torch.Size, dim: Dim) -> int:
    """Returns how many numbers are ranked together: the product of the sizes along `dim`."""
    return math.prod(shape[d] for d in _axes(len(shape), dim))


def require_count(k: int, n: int | None = None) -> None:
    """Refuses a k that is no whole number from 0 to n.

    Args:
        k: What was asked for.
        n: How many there are to choose from; None where that is not known yet.

    Raises:
        RecipeError: k is out of range.
    """
    if k != int(k) or k < 0:
        raise RecipeError(f"k is {k}: use a whole number from 0 on.")
    if n is not None and k > n:
        raise RecipeError(f"k is {k}, but there are {n} to choose from: use a whole number from 0 to {n}.")


def _axes(ndim: int, dim: Dim) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(ndim))
    return tuple(d % ndim for d in ((dim,) if isinstance(dim, int) else dim))


def _order(ndim: int, dim: Dim) -> tuple[int, ...]:
    """The batch's axes, then those of a slice in their own order."""
    axes = _axes(ndim, dim)
    return (*(d for d in range(ndim) if d not in axes), *sorted(axes))


def _slices(x: Tensor, dim: Dim) -> Tensor:
    axes = _axes(x.ndim, dim)
    return x.permute(_order(x.ndim, dim)).flatten(x.ndim - len(axes)) if x.ndim else x.reshape(1)


def _unsliced(slices: Tensor, shape: torch.Size, dim: Dim) -> Tensor:
    order = _order(len(shape), dim)
    back = [order.index(d) for d in range(len(shape))]
    return slices.reshape([shape[d] for d in order]).permute(back)
