"""ADMM in a training: the loss sees a weight that is pulled towards a sparse copy of itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.learn.regularization import Regularized, Slot, Term


def require_rho(rho: tuple[float, float]) -> None:
    """Checks a first and a last rho.

    Raises:
        RecipeError: One of the two is not finite and above 0, or the second is below the first.
    """
    if not 0 < rho[0] <= rho[1] < float("inf"):
        raise RecipeError(f"rho goes from {rho[0]} to {rho[1]}: use finite numbers > 0 that do not fall")


class ADMM(Regularized):
    """ADMM on a loss: it splits loss(W) + r(Z), W = Z, with the scaled dual U.

    Every step adds rho (W - Z + U) to the gradient; every `update` sets Z = prox(W + U, 1 / rho) and then U =
    U + W - Z. W comes close to Z but is not sparse itself: cut it off afterwards, and fine-tune. Z and U are
    a copy of the weights each, and part of the state_dict.

    Source: Zhang et al. 2018; Boyd et al. 2011, section 3.1.1.

    Args:
        terms: The regularizers and their tensors.
        rho: The values > 0 at the start and the end of the training, rising by the same factor at each
            update.

    Raises:
        RecipeError: rho is not positive and finite, or falls.
    """

    def __init__(self, terms: Sequence[Term], rho: tuple[float, float] = (1e-3, 1e-1)) -> None:
        super().__init__(terms)
        require_rho(rho)
        self.range, self.rho = rho, rho[0]
        with torch.no_grad():
            values = [term.read().clone() for term in self.terms]
            self.dual = [torch.zeros_like(v) for v in values]
            self.sparse = [t.regularizer.prox(v, 1 / self.rho) for t, v in zip(terms, values, strict=True)]

    def gradients(self) -> Iterator[tuple[Slot, Tensor]]:
        for term, z, u in zip(self.terms, self.sparse, self.dual, strict=True):
            yield from term.parts(self.rho * (term.read() - z + u))

    @torch.no_grad()
    def update(self, done: float) -> None:
        old, (low, high) = self.rho, self.range
        self.rho = low * (high / low) ** done
        for i, term in enumerate(self.terms):
            value = term.read()
            # The dual is in units of 1 / rho (Boyd et al. 2011, section 3.4.1).
            joint = value + self.dual[i] * (old / self.rho)
            self.sparse[i] = term.prox(joint, 1 / self.rho)
            self.dual[i] = joint - self.sparse[i]

    def state_dict(self) -> dict[str, Any]:
        # `update` makes new tensors and puts them into the lists: a copy of these is a snapshot.
        return {"rho": self.rho, "sparse": list(self.sparse), "dual": list(self.dual)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rho = state["rho"]
        for mine, theirs in ((self.sparse, state["sparse"]), (self.dual, state["dual"])):
            mine[:] = [new.to(old.device) for old, new in zip(mine, theirs, strict=True)]
