"""The base of all regularizers: a value, and a subgradient or a prox or both; each says which it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor._checks import require_nonnegative


@dataclass(frozen=True)
class Regularizer:
    """A penalty r(x) >= 0 of a floating-point tensor x, to be minimised with a loss.

    Attributes:
        name: Its key in `REGULARIZERS`.
        has_subgradient: Whether `subgradient` can be asked for.
        has_prox: Whether `prox` can be asked for.
        is_constraint: Whether r is 0 where something holds and inf elsewhere; the prox is then the projection
            for any step.

    Args:
        strength: A factor (lambda) that is part of r, >= 0.

    Raises:
        RecipeError: A parameter is out of range.
    """

    name: ClassVar[str]
    has_subgradient: ClassVar[bool] = True
    has_prox: ClassVar[bool] = True
    is_constraint: ClassVar[bool] = False

    strength: float = 1.0

    def __post_init__(self) -> None:
        require_nonnegative(self.strength, "strength")

    def value(self, x: Tensor) -> Tensor:
        """Returns r(x), a scalar of x's dtype.

        Raises:
            ModelError: x is not floating point, or holds NaN or inf.
        """
        raise NotImplementedError

    def subgradient(self, x: Tensor) -> Tensor:
        """Returns the gradient where there is one, else the subgradient that leaves a zero where it is.

        Args:
            x: Floating point, any shape.

        Returns:
            A tensor of x's shape.

        Raises:
            RecipeError: The regularizer has no subgradient.
            ModelError: x is not floating point, or holds NaN or inf.
        """
        raise self._lacks("subgradient", "take its proximal step instead")

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Returns the z that minimises 1/2 ||z - x||^2 + step * r(z); 0 where two are equally good.

        Args:
            x: Floating point, any shape.
            step: >= 0.

        Returns:
            A tensor of x's shape.

        Raises:
            RecipeError: The regularizer has no prox, or the step is negative or not finite.
            ModelError: x is not floating point, or holds NaN or inf.
        """
        raise self._lacks("prox", "use it as a loss term instead")

    def _lacks(self, what: str, instead: str) -> RecipeError:
        return RecipeError(f"The regularizer {self.name!r} has no {what}: {instead}.")
