"""What a regularizer is: a value, and a subgradient or a prox or both; it says which it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor._checks import require_nonnegative


@dataclass(frozen=True)
class Regularizer:
    """r(x) >= 0 of a floating-point tensor x, to be minimised with a loss; `strength` (lambda) is part of r.

    name: in `REGULARIZERS`. is_constraint: r is 0 where it holds and inf elsewhere, and the prox is the
    projection for any step. Errors: RecipeError for parameters out of range, ModelError for NaN and inf in x.
    """

    name: ClassVar[str]
    has_subgradient: ClassVar[bool] = True
    has_prox: ClassVar[bool] = True
    is_constraint: ClassVar[bool] = False

    strength: float = 1.0

    def __post_init__(self) -> None:
        require_nonnegative(self.strength, "strength")

    def value(self, x: Tensor) -> Tensor:
        """r(x), a scalar of x's dtype."""
        raise NotImplementedError

    def subgradient(self, x: Tensor) -> Tensor:
        """The gradient where there is one, else the subgradient that leaves a zero where it is; x's shape.

        Raises RecipeError where the regularizer has none.
        """
        raise self._lacks("subgradient", "take its proximal step instead")

    def prox(self, x: Tensor, step: float) -> Tensor:
        """The z that minimises 1/2 ||z - x||^2 + step * r(z), of x's shape; 0 where two are equally good.

        Raises RecipeError where the regularizer has none, or for a step that is negative or not finite.
        """
        raise self._lacks("prox", "use it as a loss term instead")

    def _lacks(self, what: str, instead: str) -> RecipeError:
        return RecipeError(f"The regularizer {self.name!r} has no {what}: {instead}.")
