"""Checks that every function of this room makes: tensors must be finite and floating point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pithnet.errors import ModelError, RecipeError


def require_finite(tensor: Tensor, what: str) -> None:
    """Checks that a tensor is floating point and free of NaN and inf.

    Args:
        tensor: Any shape.
        what: What the message calls it.

    Raises:
        ModelError: The tensor is of another dtype, or holds NaN or inf.
    """
    if not tensor.is_floating_point():
        raise ModelError(f"{what} must be floating point, got {tensor.dtype}; convert with .float() first.")
    if tensor.numel() == 0:
        return
    # NaN propagates through aminmax, so two scalars decide for the whole tensor.
    low, high = torch.aminmax(tensor.detach())
    if not (math.isfinite(low.item()) and math.isfinite(high.item())):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ModelError(
            f"{what}: {bad} of {tensor.numel()} numbers are NaN or inf; "
            "repair or retrain the model before compressing it."
        )


def require_nonempty(tensor: Tensor, what: str) -> None:
    """Checks that a tensor has elements.

    Args:
        tensor: Any shape.
        what: What the message calls it.

    Raises:
        ModelError: The tensor is empty.
    """
    if tensor.numel() == 0:
        raise ModelError(f"{what} is empty: there is nothing to do; leave this tensor out.")


def require_zero_count(zeros: int, total: int) -> None:
    """Checks that 0 <= zeros <= total.

    Args:
        zeros: How many weights are to be pruned.
        total: How many there are.

    Raises:
        RecipeError: The number of zeros is negative, or above the total.
    """
    if not 0 <= zeros <= total:
        raise RecipeError(f"Cannot prune {zeros} of {total} weights: ask for a number from 0 to {total}.")


def require_fraction(value: float, name: str) -> None:
    """Checks that 0 <= value <= 1.

    Args:
        value: The setting.
        name: What the message calls it.

    Raises:
        RecipeError: The value is below 0 or above 1.
    """
    if not 0.0 <= value <= 1.0:
        raise RecipeError(f"{name} is {value}, outside [0, 1]: write 70 % as 0.7.")


def require_nonnegative(value: float, name: str) -> None:
    """Checks that a setting is finite and >= 0.

    Args:
        value: The setting.
        name: What the message calls it.

    Raises:
        RecipeError: The value is negative or not finite.
    """
    if not (math.isfinite(value) and value >= 0.0):
        raise RecipeError(f"{name} is {value}: use a finite number >= 0.")


def require_positive(value: float, name: str) -> None:
    """Checks that a setting is finite and > 0.

    Args:
        value: The setting.
        name: What the message calls it.

    Raises:
        RecipeError: The value is not positive or not finite.
    """
    if not (math.isfinite(value) and value > 0.0):
        raise RecipeError(f"{name} is {value}: use a finite number > 0.")
