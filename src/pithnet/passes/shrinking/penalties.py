"""Penalties that make channels small while a network trains, before some of them go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError, RecipeError, lookup
from pithnet.learn import ProximalStep, Slot, Term
from pithnet.passes.layers import refuse_coded
from pithnet.passes.shrinking.members import Member, own_numbers, scales
from pithnet.passes.shrinking.plan import ShrinkPlan
from pithnet.surgery import Channels, Group, Mask, Weighted, held_tensors, latent_weight, parametrization
from pithnet.tensor import Regularizer, get_regularizer
from pithnet.tensor.proximal import ridge_prox


class ChannelTerm(Term):
    """A regularizer over the channels of one group, as a matrix (channels, numbers) of all that they have."""

    def __init__(self, regularizer: Regularizer, slots: Sequence[Slot], members: Sequence[Member]) -> None:
        super().__init__(regularizer, slots)
        self.members = tuple(members)

    def read(self) -> Tensor:
        """Returns the channels' numbers, (channels, numbers)."""
        return torch.cat([m.rows(s.read()) for s, m in zip(self.slots, self.members, strict=True)], 1)

    def parts(self, values: Tensor) -> list[tuple[Slot, Tensor]]:
        """Returns the tensors in which the channels have the numbers given, as `read` orders them."""
        read = [slot.read() for slot in self.slots]
        sizes = [m.rows(value).shape[1] for m, value in zip(self.members, read, strict=True)]
        pairs = zip(self.slots, self.members, read, values.split(sizes, 1), strict=True)
        return [(slot, member.with_rows(value, rows)) for slot, member, value, rows in pairs]


class GrowingTerm(ChannelTerm):
    """A squared norm of each channel, with a strength of its own that grows: 1/2 sum of lambda_c ||x_c||^2.

    Attributes:
        group: The channels.
        strengths: lambda, (channels,).
    """

    def __init__(
        self, regularizer: Regularizer, slots: Sequence[Slot], members: Sequence[Member], group: Group
    ) -> None:
        super().__init__(regularizer, slots, members)
        self.group, self.strengths = group, torch.zeros(group.width, dtype=torch.float64)

    def grow(self, removed: Collection[int], ceiling: float) -> None:
        """Raises the strength of channels that go by the regularizer's; that of the others is 0 again."""
        chosen = torch.tensor([number in removed for number in self.group.channels])
        raised = (self.strengths + self.regularizer.strength).clamp(max=ceiling)
        self.strengths = torch.where(chosen, raised, 0.0)

    def prox(self, values: Tensor, step: float) -> Tensor:
        """Returns the penalty's prox, values / (1 + step * strengths)."""
        with self._named():
            return ridge_prox(values, (step * self.strengths[:, None]).to(values))


def _scaled(model: nn.Module, channels: Channels, group: Group, strength: float) -> ChannelTerm:
    members = scales(model, channels, group)
    return ChannelTerm(get_regularizer("l1", strength=strength), _slots(model, members), members)


def _lasso(model: nn.Module, channels: Channels, group: Group, strength: float) -> ChannelTerm:
    members = own_numbers(model, channels, group)
    regularizer = get_regularizer("group-lasso", strength=strength, dim=1)
    return ChannelTerm(regularizer, _slots(model, members), members)


def _growing(model: nn.Module, channels: Channels, group: Group, strength: float) -> ChannelTerm:
    members = own_numbers(model, channels, group)
    regularizer = get_regularizer("elastic-net", strength=strength, l1_ratio=0.0)
    return GrowingTerm(regularizer, _slots(model, members), members, group)


def _slots(model: nn.Module, members: Sequence[Member]) -> list[Slot]:
    weights = {holders[0].keys[0]: Weighted(holders) for holders in held_tensors(model)}
    used = [weights[member.place.key] for member in members]
    refuse_coded([(weight.name, weight) for weight in used])
    return [Slot(latent_weight(w), parametrization(w, Mask), w.keys[0]) for w in used]


PENALTIES: dict[str, Callable[[nn.Module, Channels, Group, float], ChannelTerm]] = {
    "slimming": _scaled,
    "group-lasso": _lasso,
    "growing": _growing,
}


class GroupPenalty(ProximalStep):
    """A penalty on channels that go together, by a proximal step after every step of the optimizer.

    - "slimming": strength * sum of |gamma| over the scales of the norms (network slimming, Liu et al. 2017).
    - "group-lasso": strength * sum over channels of sqrt(n) ||x||_2, where x is all n numbers that make a
      channel: its filters in all layers that are added up, biases, scales and shifts of norms (Yuan & Lin
      2006; coupled as in DepGraph, Fang et al. 2023).
    - "growing": 1/2 sum of lambda ||x||_2^2 over the channels that are to go. `grow` raises lambda, so they
      fade while the network learns to do without them (GReg-1, Wang et al. 2021, which adds the gradient of
      this penalty; the proximal step is stable at any lambda).

    The groups are disjoint, so each proximal step is the exact minimiser. Only groups that can lose channels
    are penalised.

    Args:
        plan: Says which network and which of its groups; the network's parameters are changed in place.
        kind: A name in `PENALTIES`.
        strength: lambda, in units of the loss; of "growing" what each `grow` adds to it. Above 0.
        ceiling: Of "growing" the largest lambda.

    Raises:
        RecipeError: The kind is unknown, or the strength or the ceiling is not above 0.
        ModelError: No group has what the penalty is on, or a weight is shared or quantized.
    """

    _one_rate = "layers whose channels go together need one learning rate and momentum; give them the same"

    def __init__(
        self, plan: ShrinkPlan, kind: str = "group-lasso", *, strength: float, ceiling: float = 1.0
    ) -> None:
        term = lookup("penalty on channels", kind, PENALTIES, RecipeError)
        for name, value in (("strength", strength), ("ceiling", ceiling)):
            if not 0 < value < float("inf"):
                raise RecipeError(f"{name} is a number above 0, not {value!r}")
        model, channels = plan.model, plan.channels
        free = [g for g, row in zip(channels.groups, plan.rows, strict=True) if row.whole is None]
        found = [(group, term(model, channels, group, strength)) for group in free]
        self.groups = [(group, own) for group, own in found if own.slots]
        if not self.groups:
            raise ModelError(f"{kind} has nothing to act on: no norm scales channels; use 'group-lasso'")
        super().__init__([own for _, own in self.groups])
        self.channels, self.ceiling = channels, ceiling
        self._weights = {h[0].keys[0]: latent_weight(Weighted(h)) for h in held_tensors(model)}
        self._held: frozenset[int] | None = None
        self._zeros: list[tuple[Tensor, int, Tensor]] = []

    def grow(self, removed: Collection[int]) -> None:
        """Raises the penalty on channels that are to go, and takes it off all others; of "growing" alone.

        Args:
            removed: Numbers of the channels, as `ShrinkPlan.removed`.
        """
        for term in self.terms:
            if isinstance(term, GrowingTerm):
                term.grow(removed, self.ceiling)

    @torch.no_grad()
    def hold(self, removed: Collection[int]) -> None:
        """Ends the penalty; from now on these channels are zero after every step, wherever they have numbers.

        The network computes as one without them, and can be cut at any time.

        Args:
            removed: Numbers of the channels, as `ShrinkPlan.removed`.
        """
        self._held, self._zeros = frozenset(removed), []
        chosen = torch.tensor(sorted(removed), dtype=torch.int64)
        for place, found in self.channels.places.items():
            gone = torch.isin(found, chosen).nonzero().flatten()
            if place.key in self._weights and len(gone):
                weight = self._weights[place.key]
                self._zeros.append((weight, place.axis, gone.to(weight.device)))
        self.after_step(())

    @property
    def held(self) -> frozenset[int] | None:
        """The channels that are kept zero; None while the penalty acts."""
        return self._held

    def after_step(self, step_sizes: Sequence[float]) -> None:
        """Takes the proximal step, or keeps channels zero where they are held."""
        for weight, axis, gone in self._zeros:
            weight.index_fill_(axis, gone, 0)
        if self._held is None:
            super().after_step(step_sizes)

    @torch.no_grad()
    def norms(self) -> dict[int, float]:
        """Returns the Euclidean norm of what is penalised of each channel, by number."""
        return {
            number: norm
            for group, term in self.groups
            for number, norm in zip(group.channels, term.read().double().norm(dim=1).tolist(), strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on."""
        strengths = [term.strengths for term in self.terms if isinstance(term, GrowingTerm)]
        return {"strengths": strengths, "held": None if self._held is None else sorted(self._held)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        growing = [term for term in self.terms if isinstance(term, GrowingTerm)]
        for term, strengths in zip(growing, state["strengths"], strict=True):
            term.strengths = strengths.clone()
        if state["held"] is not None:
            self.hold(state["held"])


class StableChoice:
    """Tells when a choice of channels has stayed the same for some time.

    Args:
        patience: How many times in a row the choice is to be the one before, 1 or more.

    Raises:
        RecipeError: The patience is below 1.
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise RecipeError(f"patience is {patience}; use 1 or more")
        self.patience, self.unchanged = patience, 0
        self.last: frozenset[int] | None = None

    def __call__(self, removed: Collection[int]) -> bool:
        """Takes in a choice, and returns whether it is stable now.

        Args:
            removed: Numbers of the channels, as `ShrinkPlan.removed`.
        """
        chosen = frozenset(removed)
        self.unchanged = self.unchanged + 1 if chosen == self.last else 0
        self.last = chosen
        return self.unchanged >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on."""
        return {"last": None if self.last is None else sorted(self.last), "unchanged": self.unchanged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.last = None if state["last"] is None else frozenset(state["last"])
        self.unchanged = state["unchanged"]
