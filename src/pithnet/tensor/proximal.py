"""Proximal operators: prox(x) minimises 1/2 ||z - x||^2 + r(z) over z, for penalties r that have a formula.

Every function takes a floating-point tensor of any shape and returns one of the same shape, dtype and device;
what is cut off is +0.0. An argument `dim` names the dimensions that are ranked or normed together; all others
are a batch. In `regularizers` each operator belongs to its penalty (Parikh & Boyd 2014 for the family).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite, require_nonnegative, require_positive
from pithnet.tensor.pruning.largest import Dim, largest


def soft_threshold(x: Tensor, t: float) -> Tensor:
    """Returns sign(x) max(|x| - t, 0), the prox of t ||x||_1.

    Args:
        x: Any shape.
        t: >= 0.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: t is negative or not finite.
    """
    _require(x, t)
    return torch.where(x.abs() > t, x - t * x.sign(), 0.0)


def hard_threshold(x: Tensor, k: int, dim: Dim = None) -> Tensor:
    """Keeps the k largest magnitudes and zeros the rest: the nearest tensor with at most k non-zeros.

    Between equal magnitudes the lower flat index is kept.

    Args:
        x: Any shape.
        k: From 0 to the size of a slice.
        dim: The dimensions of a slice; None takes all.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: k is not a whole number from 0 to the size of a slice.
    """
    require_finite(x, "x")
    return _kept(largest(x, k, dim), x)


def trimmed_soft_threshold(x: Tensor, t: float, k: int, dim: Dim = None) -> Tensor:
    """Takes the soft threshold of all but the k largest magnitudes: the prox of t times the others' sum.

    This is that of trimmed L1 (Yun, Zheng, Yang, Lozano & Aravkin 2019): unlike L1 it does not shrink what it
    keeps. Between equal magnitudes the lower flat index is kept.

    Args:
        x: Any shape.
        t: >= 0.
        k: From 0 to the size of a slice.
        dim: The dimensions of a slice; None takes all.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: t is negative or not finite, or k is not a whole number from 0 to the size of a slice.
    """
    return torch.where(largest(x, k, dim) & (x != 0), x, soft_threshold(x, t))


def group_soft_threshold(x: Tensor, t: float, dim: int | tuple[int, ...]) -> Tensor:
    """Returns x max(1 - t / ||x||_2, 0), the prox of t times the sum of the groups' norms over `dim`.

    Source: Yuan & Lin 2006, eq. 2.4.

    Args:
        x: Any shape.
        t: >= 0.
        dim: What a group spans; for the filters of an (O, I, h, w) convolution it is (1, 2, 3).

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: t is negative or not finite.
    """
    _require(x, t)
    norms = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    kept = norms > t
    # A tensor over a tensor: torch takes a number over a tensor for a product with 1 / norm, which is inf for
    # a subnormal norm.
    return _kept(kept, x * (1 - norms.new_tensor(t) / torch.where(kept, norms, 1.0)))


def group_hard_threshold(x: Tensor, k: int, dim: int | tuple[int, ...]) -> Tensor:
    """Keeps the k groups of largest norm and zeros the rest; between equal norms the lower index is kept.

    Args:
        x: Any shape.
        k: From 0 to the number of groups.
        dim: What a group spans.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: k is not a whole number from 0 to the number of groups.
    """
    require_finite(x, "x")
    norms = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return _kept(largest(norms, k), x)


def elastic_net_prox(x: Tensor, t: float, l1_ratio: float) -> Tensor:
    """Returns the prox of t (l1_ratio |x| + (1 - l1_ratio) x^2 / 2) (Zou & Hastie 2005).

    Args:
        x: Any shape.
        t: >= 0.
        l1_ratio: From 0 to 1.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: t or l1_ratio is out of range.
    """
    return soft_threshold(x, t * l1_ratio) / (1 + t * (1 - l1_ratio))


def ridge_prox(x: Tensor, t: Tensor) -> Tensor:
    """Returns x / (1 + t), the prox of t/2 ||x||^2, where each number of x may have a factor t of its own.

    Args:
        x: Any shape.
        t: >= 0, of a shape that broadcasts to that of x.

    Raises:
        ModelError: x or t is not floating point, or holds NaN or inf.
        RecipeError: t is negative.
    """
    require_finite(x, "x")
    require_finite(t, "t")
    require_nonnegative(float(t.min()) if t.numel() else 0.0, "t")
    return x / (1 + t)


def l0_prox(x: Tensor, t: float) -> Tensor:
    """Zeros |x| <= sqrt(2 t) and leaves the rest as it is: the prox of t ||x||_0.

    Args:
        x: Any shape.
        t: >= 0.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: t is negative or not finite.
    """
    _require(x, t)
    return torch.where(x.abs() > math.sqrt(2 * t), x, 0.0)


def mcp_prox(x: Tensor, strength: float, gamma: float, step: float = 1.0) -> Tensor:
    """Returns the prox of step * MCP, the minimax concave penalty (Zhang 2010).

    MCP(x) = strength |x| - x^2 / (2 gamma) up to |x| = gamma strength, and it is constant beyond, so nothing
    large shrinks. With step < gamma the prox is the firm threshold; from there on it keeps or zeros, and
    nothing lies between.

    Args:
        x: Any shape.
        strength: >= 0.
        gamma: > 0.
        step: >= 0.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: A parameter is out of range.
    """
    _require(x, strength)
    require_nonnegative(step, "step")
    require_positive(gamma, "gamma")
    if step >= gamma:
        return torch.where(x.abs() > math.sqrt(step * gamma) * strength, x, 0.0)
    shrunk = soft_threshold(x, step * strength) / (1 - step / gamma)
    return torch.where(x.abs() <= gamma * strength, shrunk, x)


def scad_prox(x: Tensor, strength: float, a: float, step: float = 1.0) -> Tensor:
    """Returns the prox of step * SCAD, the smoothly clipped absolute deviation (Fan & Li 2001, eq. 2.7-2.8).

    Each of SCAD's three pieces has its own minimiser; the best of them is taken, so any step is right.

    Args:
        x: Any shape.
        strength: >= 0.
        a: > 2.
        step: >= 0.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: The strength or the step is negative or not finite.
    """
    _require(x, strength)
    require_nonnegative(step, "step")
    size = x.abs()
    inner = (size - step * strength).clamp(0, strength)
    # From step = a - 1 on the middle piece is concave, and its best point is one of its ends.
    slack = a - 1 - step
    middle = ((a - 1) * size - step * a * strength) / slack if slack > 0 else size
    candidates = torch.stack([inner, middle.clamp(strength, a * strength), size.clamp(min=a * strength)])
    cost = (candidates - size).square() / 2 + step * scad(candidates, strength, a)
    best = candidates.gather(0, cost.argmin(0, keepdim=True)).squeeze(0)
    return torch.where(best > 0, best * x.sign(), 0.0)


def scad(x: Tensor, strength: float, a: float) -> Tensor:
    """Returns SCAD of every number: L1 up to |x| = strength, flat from a * strength on (Fan & Li 2001).

    Args:
        x: Any shape.
        strength: >= 0.
        a: > 2.
    """
    size = x.abs()
    middle = (2 * a * strength * size - size.square() - strength**2) / (2 * (a - 1))
    outer = torch.full_like(size, strength**2 * (a + 1) / 2)
    return torch.where(size <= strength, strength * size, torch.where(size <= a * strength, middle, outer))


def transformed_l1_prox(x: Tensor, t: float, a: float) -> Tensor:
    """Returns the prox of t (a + 1) |x| / (a + |x|) (Zhang & Xin 2017, who give this closed form).

    Towards a = 0 the penalty counts non-zeros, towards infinity it is L1.

    Args:
        x: Any shape.
        t: >= 0.
        a: > 0.

    Raises:
        ModelError: x is not floating point, or holds NaN or inf.
        RecipeError: t or a is out of range.
    """
    _require(x, t)
    require_positive(a, "a")
    size = x.abs()
    smooth = t <= a * a / (2 * (a + 1))
    threshold = t * (a + 1) / a if smooth else math.sqrt(2 * t * (a + 1)) - a / 2
    angle = torch.acos((1 - 27 * t * a * (a + 1) / (2 * (a + size) ** 3)).clamp(-1, 1))
    root = 2 / 3 * (a + size) * torch.cos(angle / 3) - 2 / 3 * a + size / 3
    return torch.where(size > threshold, root.clamp(min=0) * x.sign(), 0.0)


def _kept(mask: Tensor, x: Tensor) -> Tensor:
    """Returns x where the mask is True, +0.0 elsewhere and for -0.0."""
    return torch.where(mask & (x != 0), x, 0.0)


def _require(x: Tensor, t: float) -> None:
    require_finite(x, "x")
    require_nonnegative(t, "the threshold")
