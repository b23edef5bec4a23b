"""What a regularized training will do, decided and checked before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pithnet.errors import RecipeError, require_known
from pithnet.learn import require_rho
from pithnet.passes.regularized.terms import GROUPS, is_grouped, regularizers, resolved_how
from pithnet.passes.scopes import SCOPES
from pithnet.passes.updates import Updates
from pithnet.surgery import Weighted
from pithnet.tensor.regularizers import Regularizer, regularizer_class

_FIRST_STRENGTH = 1e-5  # where the search for one begins; each update may double or halve it


@dataclass(frozen=True, kw_only=True)
class RegularizationSettings:
    """The settings of a regularized training.

    The fields are the arguments of `pithnet.Regularization` of the same names; `parameters` are the
    regularizer's own.

    Raises:
        RecipeError: A value is out of range, or a name is unknown.
    """

    kind: str
    strength: float | None = None
    sparsity: float | None = None
    how: str | None = None
    until: float = 1.0
    scope: str = "global"
    groups: str = "filters"
    updates: int = 40
    rho: tuple[float, float] = (1e-3, 1e-1)
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sparsity is not None and not 0 <= self.sparsity <= 1:
            raise RecipeError(f"sparsity is a share of the weights, from 0 to 1, not {self.sparsity}")
        if not 0 < self.until <= 1:
            raise RecipeError(f"until is a share of the training, above 0 and up to 1, not {self.until}")
        self.rhythm()
        require_known("pruning scope", self.scope, SCOPES, RecipeError)
        require_known("groups", self.groups, GROUPS, RecipeError)
        require_rho(self.rho)

    def rhythm(self) -> Updates:
        """Returns the updates of a training; the first strength stands for the first of them."""
        return Updates(self.updates, self.until, last=0)

    @property
    def way(self) -> str:
        """The key of `HOWS` that trains.

        Raises:
            RecipeError: The regularizer is unknown, or lacks what `how` needs.
        """
        return resolved_how(self.kind, self.how)

    @property
    def searches(self) -> bool:
        """Whether a strength is found while training.

        Raises:
            RecipeError: A strength is needed and cannot be found.
        """
        if self.strength is not None or regularizer_class(self.kind).is_constraint:
            return False
        # Groups answer too late: none is zero until it has shrunk as a whole.
        if self.way != "proximal" or self.sparsity is None or is_grouped(self.kind):
            raise RecipeError(
                f"{self.kind!r} needs a strength here; only proximal steps of single weights with a sparsity "
                "to reach find their own"
            )
        return True

    @property
    def first_strength(self) -> float:
        """The strength with which the training begins."""
        return _FIRST_STRENGTH if self.strength is None else self.strength

    def regularizers(self, layers: Sequence[Weighted]) -> list[tuple[Regularizer, list[Weighted]]]:
        """Returns each regularizer with the layers that it acts on, as `terms.regularizers` makes them.

        Raises:
            RecipeError: A parameter is unknown or out of range, or a needed one is missing.
        """
        parameters = {"strength": self.first_strength, **self.parameters}
        return regularizers(self.kind, layers, self.sparsity, self.scope, self.groups, parameters)

    def check(self, layers: Sequence[Weighted]) -> None:
        """Refuses what a training of these layers could not begin with.

        Raises:
            RecipeError: A strength is needed and cannot be found, or the regularizer cannot be made for these
                layers.
        """
        _ = self.way, self.searches
        self.regularizers(layers)
