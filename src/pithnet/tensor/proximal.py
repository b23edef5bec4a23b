"""Proximal operators: prox(x) minimises 1/2 ||z - x||^2 + r(z) over z, for penalties r that have a formula.

Every function takes a floating-point tensor of any shape and returns one of the same shape, dtype and device;
what is cut off is +0.0. `dim`: the dimensions that are ranked or normed together; all others are a batch.
They raise ModelError for NaN and inf in `x`, RecipeError for a parameter out of range. In `regularizers`
each of them belongs to its penalty (Parikh & Boyd 2014 for the family).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite, require_nonnegative, require_positive
from pithnet.tensor.pruning.largest import Dim, largest


def soft_threshold(x: Tensor, t: float) -> Tensor:
    """sign(x) max(|x| - t, 0): prox of t ||x||_1."""
    _require(x, t)
    return torch.where(x.abs() > t, x - t * x.sign(), 0.0)


def hard_threshold(x: Tensor, k: int, dim: Dim = None) -> Tensor:
    """Keeps the k largest magnitudes and zeros the rest: the nearest tensor with at most k non-zeros.

    Between equal magnitudes the lower flat index is kept. RecipeError unless k is from 0 to the slice's size.
    """
    require_finite(x, "x")
    return _kept(largest(x, k, dim), x)


def trimmed_soft_threshold(x: Tensor, t: float, k: int, dim: Dim = None) -> Tensor:
    """Soft threshold of all but the k largest magnitudes: prox of t times the sum of the others.

    Trimmed L1 (Yun, Zheng, Yang, Lozano & Aravkin 2019): unlike L1 it does not shrink what it keeps.
    Ties and errors as in `hard_threshold`.
    """
    return torch.where(largest(x, k, dim) & (x != 0), x, soft_threshold(x, t))


def group_soft_threshold(x: Tensor, t: float, dim: int | tuple[int, ...]) -> Tensor:
    """x max(1 - t / ||x||_2, 0), the norm over `dim`: prox of t times the sum of the groups' norms.

    Yuan & Lin 2006, eq. 2.4. A group spans `dim`: filters of a (O, I, h, w) convolution are (1, 2, 3).
    """
    _require(x, t)
    norms = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    kept = norms > t
    # A tensor over a tensor: torch takes a number over a tensor for a product with 1 / norm, which is inf for
    # a subnormal norm.
    return _kept(kept, x * (1 - norms.new_tensor(t) / torch.where(kept, norms, 1.0)))


def group_hard_threshold(x: Tensor, k: int, dim: int | tuple[int, ...]) -> Tensor:
    """Keeps the k groups of largest norm, each spanning `dim`, and zeros the rest.

    Between equal norms the lower index is kept. RecipeError unless 0 <= k <= the number of groups.
    """
    require_finite(x, "x")
    norms = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return _kept(largest(norms, k), x)


def elastic_net_prox(x: Tensor, t: float, l1_ratio: float) -> Tensor:
    """Prox of t (l1_ratio |x| + (1 - l1_ratio) x^2 / 2) (Zou & Hastie 2005)."""
    return soft_threshold(x, t * l1_ratio) / (1 + t * (1 - l1_ratio))


def l0_prox(x: Tensor, t: float) -> Tensor:
    """Prox of t ||x||_0: zeros |x| <= sqrt(2 t) and leaves the rest as it is."""
    _require(x, t)
    return torch.where(x.abs() > math.sqrt(2 * t), x, 0.0)


def mcp_prox(x: Tensor, strength: float, gamma: float, step: float = 1.0) -> Tensor:
    """Prox of step * MCP, the minimax concave penalty (Zhang 2010).

    MCP(x) = strength |x| - x^2 / (2 gamma) up to |x| = gamma strength, constant beyond, so nothing shrinks.
    With step < gamma it is the firm threshold; from there on it keeps or zeros, and nothing lies between.
    """
    _require(x, strength)
    require_nonnegative(step, "step")
    require_positive(gamma, "gamma")
    if step >= gamma:
        return torch.where(x.abs() > math.sqrt(step * gamma) * strength, x, 0.0)
    shrunk = soft_threshold(x, step * strength) / (1 - step / gamma)
    return torch.where(x.abs() <= gamma * strength, shrunk, x)


def scad_prox(x: Tensor, strength: float, a: float, step: float = 1.0) -> Tensor:
    """Prox of step * SCAD, the smoothly clipped absolute deviation, a > 2 (Fan & Li 2001, eq. 2.7-2.8).

    Each of SCAD's three pieces has its own minimiser; the best of them is taken, so any step is right.
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
    """SCAD of every number: L1 up to |x| = strength, flat from a * strength on (Fan & Li 2001)."""
    size = x.abs()
    middle = (2 * a * strength * size - size.square() - strength**2) / (2 * (a - 1))
    outer = torch.full_like(size, strength**2 * (a + 1) / 2)
    return torch.where(size <= strength, strength * size, torch.where(size <= a * strength, middle, outer))


def transformed_l1_prox(x: Tensor, t: float, a: float) -> Tensor:
    """Prox of t (a + 1) |x| / (a + |x|), a > 0 (Zhang & Xin 2017, who give this closed form).

    Towards a = 0 the penalty counts non-zeros, towards infinity it is L1.
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
    """x where the mask is True, +0.0 elsewhere and for -0.0."""
    return torch.where(mask & (x != 0), x, 0.0)


def _require(x: Tensor, t: float) -> None:
    require_finite(x, "x")
    require_nonnegative(t, "the threshold")
