"""Pruning criteria: one score for each weight, the lowest go first. A new one is a function and a line.

@criterion("smallest-step", needs=("gradient",))
def smallest_step(evidence: Evidence) -> Tensor:
    return evidence.gradient.abs()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.errors import RecipeError, lookup
from pithnet.tensor.pruning.evidence import FROM_BATCHES, FROM_LABELS, Evidence, require_evidence

Score = Callable[[Evidence], Tensor]


@dataclass(frozen=True)
class Criterion:
    """A score with the evidence that it looks at.

    Attributes:
        name: What users call it.
        score: Evidence -> scores of the weight's shape, floating point, finite and >= 0.
        needs: Names of `Evidence`'s attributes that the score reads; it cannot read any other.
    """

    name: str
    score: Score
    needs: frozenset[str]

    @property
    def looks_at_weight(self) -> bool:
        """Whether scores depend on the weights: then zeros score low by themselves."""
        return "weight" in self.needs

    @property
    def needs_batches(self) -> bool:
        """Whether it looks at what only data can tell."""
        return bool(self.needs & FROM_BATCHES)

    @property
    def needs_labels(self) -> bool:
        """Whether it looks at gradients of a loss, which compares outputs with labels."""
        return bool(self.needs & FROM_LABELS)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Returns the scores of one weight tensor, of its shape, without a gradient.

        Raises:
            ModelError: The weight or the evidence holds NaN or inf, or is not floating point.
            RecipeError: Declared evidence is missing, undeclared evidence is read, or what the score gives is
                no tensor of the weight's shape with numbers >= 0.
        """
        scores = self.score(evidence.opened_for(self.name, self.needs)).detach()
        if scores.shape != evidence.shape:
            raise RecipeError(
                f"criterion {self.name!r} gives scores of shape {tuple(scores.shape)} for weights of shape "
                f"{tuple(evidence.shape)}; let it return a score for each weight"
            )
        if scores.numel() and bool(scores.min() < 0):
            raise RecipeError(
                f"criterion {self.name!r} gives scores below 0; let 0 be its lowest score, that of a weight "
                "which may go first"
            )
        return scores


CRITERIA: dict[str, Criterion] = {}


def criterion(name: str, needs: Iterable[str] = ("weight",)) -> Callable[[Score], Criterion]:
    """Registers the function under it as the criterion `name`, for `prune` and for recipes.

    Args:
        name: What users call it. A function that is defined again replaces itself.
        needs: What the function reads of its `Evidence`. One that reads no "weight" says so by leaving it
            out: pruning then keeps the zeros there are by itself.

    Raises:
        RecipeError: The name is taken by another function, or `needs` names what is no evidence.
    """

    def register(score: Score) -> Criterion:
        known = CRITERIA.get(name)
        if known is not None and _place(known.score) != _place(score):
            raise RecipeError(f"there is a criterion {name!r} already; register yours under another name")
        CRITERIA[name] = Criterion(name, score, require_evidence(tuple(needs)))
        return CRITERIA[name]

    return register


def _place(score: Score) -> tuple[str, str]:
    return score.__module__, getattr(score, "__qualname__", "")


def get_criterion(name: str) -> Criterion:
    """Returns the criterion called `name`.

    Raises:
        RecipeError: There is none; the message has the nearest names.
    """
    return lookup("criterion", name, CRITERIA, RecipeError)


@criterion("magnitude")
def magnitude(evidence: Evidence) -> Tensor:
    """Scores by |w|: the weight tensor changes least in every l_p norm (Han et al. 2015, section 3)."""
    return evidence.weight.abs()


@criterion("random", needs=("generator",))
def random(evidence: Evidence) -> Tensor:
    """Scores at random, uniform in [0, 1), float32: the control that every other criterion has to beat.

    They are drawn on the generator's device (the CPU without one), so a seed means the same mask everywhere.
    """
    generator = evidence.generator
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.rand(evidence.shape, generator=generator, device=device).to(evidence.device)


@criterion("lamp")
def lamp(evidence: Evidence) -> Tensor:
    """Scores by w_i^2 / sum of w_j^2 over weights at least as large as w_i (LAMP, Lee et al. 2021, eq. 3).

    The scores are float64. They order one tensor as magnitude does. A global ranking by them cannot empty a
    layer as long as it keeps one weight per layer: the largest weight of every non-zero tensor scores 1, the
    most there is.
    """
    flat = evidence.weight.flatten().double()
    if flat.numel() == 0:
        return flat.reshape(evidence.shape)
    # Dividing by the largest magnitude first keeps the squares of tiny weights from underflowing.
    peak = flat.abs().max()
    squares = (flat / torch.where(peak > 0, peak, torch.ones_like(peak))).square()
    return share_of_what_is_not_smaller(squares).reshape(evidence.shape)


def share_of_what_is_not_smaller(squares: Tensor) -> Tensor:
    """Returns each number over the sum of all that are not smaller, float64; 0 for 0.

    Args:
        squares: (n,), >= 0. Of equal ones the first counts as the smallest.
    """
    # The sort is stable and the lower index first, so equal weights score in the order of the masks' ties.
    ascending, order = squares.double().sort(stable=True)
    at_least = ascending.flip(0).cumsum(0).flip(0)
    ranked = torch.where(at_least > 0, ascending / at_least, torch.zeros_like(ascending))
    return torch.empty_like(ascending).scatter_(0, order, ranked)


@criterion("taylor", needs=("weight", "gradient_magnitude"))
def taylor(evidence: Evidence) -> Tensor:
    """Scores by sum_b n_b / N |w dL_b/dw|, by how much losses L_b change without the weight, to first order.

    The mean is over batches b of n_b samples each, N in all. As in Molchanov et al. 2017, section 2.2, the
    absolute value is taken before the mean, so that gains on one batch do not hide losses on another; theirs
    is about feature maps and single samples, ours about weights and batches. Molchanov et al. 2019, section
    3, score weights by (w dL/dw)^2, which gives the same order where there is one batch.
    """
    return evidence.weight.abs() * evidence.gradient_magnitude


@criterion("snip", needs=("weight", "gradient"))
def snip(evidence: Evidence) -> Tensor:
    """Scores by |w dL/dw| of all samples together, for networks before training (SNIP, Lee et al. 2019).

    The paper (section 4) divides by the sum over the whole network. That is one number for all weights, so it
    changes no ranking, and it is left out. With one batch it is Taylor's score; with several the gradients
    are averaged before the absolute value, not after.
    """
    return (evidence.weight * evidence.gradient).abs()


@criterion("wanda", needs=("weight", "input_norm"))
def wanda(evidence: Evidence) -> Tensor:
    """Scores by |w| ||x||_2, the change of the layer's outputs without the weight (Sun et al. 2024, eq. 1).

    x is all inputs that the weight multiplies: of a linear layer its input feature over samples and
    positions, of a convolution what stands under this place of the kernel wherever the kernel stops. The
    paper ranks weights of the same output with each other; here that is for the scope to say.
    """
    return evidence.weight.abs() * evidence.input_norm
