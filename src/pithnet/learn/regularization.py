"""Regularizers in a training: as a term of the loss, or as a proximal step after the optimizer's own.

Both hang on the hooks of a torch optimizer, so any optimizer and any loop take them, and the optimizer's
state_dict stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pithnet.errors import ModelError, RecipeError
from pithnet.surgery import Mask
from pithnet.tensor import Regularizer


def step_size(group: Mapping[str, Any]) -> float:
    """Returns how far an optimizer's group moves a weight for a gradient of 1 that stays.

    That is the proximal step's size: lr (1 - dampening) / (1 - momentum) where there is momentum, with which
    the points where a proximal training comes to rest are those of loss + r, as without. It is lr alone for
    Adam and its kin, whose averages are normalised: like AdamW's weight decay the step is apart from the
    gradient's scaling.

    Args:
        group: One of the optimizer's param_groups.
    """
    momentum = float(group.get("momentum", 0.0))
    return float(group["lr"]) * (1 - float(group.get("dampening", 0.0)) * (momentum > 0)) / (1 - momentum)


@dataclass(frozen=True, eq=False)
class Slot:
    """A trainable tensor of any shape, and the mask it is seen through, if any.

    A masked number is zero to the regularizer, and it is not written to.

    Attributes:
        parameter: The tensor.
        mask: The mask, or None.
        name: The weight's, for messages.
    """

    parameter: Tensor
    mask: Mask | None = None
    name: str = "a regularized weight"

    def read(self) -> Tensor:
        """Returns the tensor's values as the regularizer sees them."""
        value = self.parameter.detach()
        return value if self.mask is None else torch.where(self.mask.mask, value, 0.0)

    def write(self, value: Tensor) -> None:
        """Puts new values in place, but for the masked ones."""
        old = self.parameter.detach()
        self.parameter.copy_(value if self.mask is None else torch.where(self.mask.mask, value, old))

    def add_gradient(self, value: Tensor) -> None:
        """Adds to the gradient, unless the loss gave none: then the optimizer leaves the tensor alone."""
        if self.parameter.grad is not None:
            masked = value if self.mask is None else torch.where(self.mask.mask, value, 0.0)
            self.parameter.grad.add_(masked)


class Term:
    """A regularizer over one tensor, or over several as if they were one vector."""

    def __init__(self, regularizer: Regularizer, slots: Sequence[Slot]) -> None:
        self.regularizer, self.slots = regularizer, tuple(slots)

    def read(self) -> Tensor:
        """Returns the tensor, or all of them flat, one after another: (n,)."""
        if len(self.slots) == 1:
            return self.slots[0].read()
        return torch.cat([slot.read().flatten() for slot in self.slots])

    def parts(self, values: Tensor) -> list[tuple[Slot, Tensor]]:
        """Takes apart again what `read` gives."""
        shapes = [slot.parameter.shape for slot in self.slots]
        split = values.flatten().split([shape.numel() for shape in shapes])
        return [(slot, v.view(shape)) for slot, shape, v in zip(self.slots, shapes, split, strict=True)]

    def subgradient(self) -> list[tuple[Slot, Tensor]]:
        """Returns the regularizer's subgradient at the tensor, in parts.

        Raises:
            ModelError: A weight holds NaN or inf; the message names it.
        """
        with self._named():
            return self.parts(self.regularizer.subgradient(self.read()))

    def prox(self, values: Tensor, step: float) -> Tensor:
        """Returns the regularizer's prox.

        Args:
            values: Values like those of `read`.
            step: The proximal step's size.

        Raises:
            ModelError: A weight holds NaN or inf; the message names it.
        """
        with self._named():
            return self.regularizer.prox(values, step)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Names the weight in errors: the regularizer knows neither it nor that a training made it so."""
        try:
            yield
        except ModelError:
            for slot in self.slots:
                value = slot.read()
                if bad := int((~torch.isfinite(value)).sum()):
                    raise ModelError(
                        f"{slot.name}: {bad} of {value.numel()} numbers are NaN or inf, the training "
                        "diverged; lower lr, or repair the data where it holds NaN or inf"
                    ) from None
            raise


class Regularized:
    """What a regularizer adds to the steps of an optimizer, while `active`; subclasses say when and what."""

    _one_rate = "layers ranked together need one learning rate and momentum; give scope='uniform'"

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms, self.active = tuple(terms), True

    def attach(self, optimizer: Optimizer) -> None:
        """Acts on every step of `optimizer` from now on.

        Raises:
            RecipeError: A regularized tensor is not among the optimizer's, or those of one term have learning
                rates of their own.
        """
        self._step_sizes(optimizer)
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    def gradients(self) -> Iterable[tuple[Slot, Tensor]]:
        """Returns what is added to the gradients when they are ready and the step is not taken."""
        return ()

    def after_step(self, step_sizes: Sequence[float]) -> None:
        """Acts when the step is taken; `step_sizes` has one number per term."""

    @property
    def zeros(self) -> float:
        """Returns the share of zeros among the numbers of all the terms, in [0, 1]."""
        values = [term.read() for term in self.terms]
        return sum(int((v == 0).sum()) for v in values) / max(sum(v.numel() for v in values), 1)

    def set_strength(self, strength: float) -> None:
        """Gives every term's regularizer this lambda from the next step on."""
        for term in self.terms:
            term.regularizer = replace(term.regularizer, strength=strength)

    def update(self, done: float) -> None:
        """Acts now and then; `done` is the share of the regularized training, in [0, 1]."""

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Adds the gradients now, or, where the step is given a closure, whenever that has computed its own.

        The args and kwargs are those of step(self, closure); it returns what takes their place, if anything.
        """
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._add_gradients(optimizer)
            return None

        def regularized() -> Any:
            loss = closure()
            self._add_gradients(optimizer)
            return loss

        if "closure" in kwargs:
            return args, {**kwargs, "closure": regularized}
        return (args[0], regularized, *args[2:]), kwargs

    @torch.no_grad()
    def _add_gradients(self, optimizer: Optimizer) -> None:
        if not self.active:
            return
        # torch's GradScaler sets it for the time of a fused step, whose kernel divides the gradients by it.
        scale = getattr(optimizer, "grad_scale", None)
        for slot, gradient in self.gradients():
            slot.add_gradient(gradient if scale is None else gradient * scale.to(gradient.device))

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self.active:
            self.after_step(self._step_sizes(optimizer))

    def _step_sizes(self, optimizer: Optimizer) -> list[float]:
        sizes = {id(p): step_size(group) for group in optimizer.param_groups for p in group["params"]}
        found = []
        for term in self.terms:
            own = {sizes.get(id(slot.parameter)) for slot in term.slots}
            if None in own:
                raise RecipeError("a regularized weight is not in the optimizer: give it all of the model's")
            if len(own) > 1:
                raise RecipeError(self._one_rate)
            found += [float(size) for size in own if size is not None]
        return found


class LossTerm(Regularized):
    """A regularizer r(w) added to the loss: its subgradient is added to the gradient, before every step.

    Stochastic steps on it lead to small numbers, hardly ever to exact zeros.
    """

    def gradients(self) -> Iterator[tuple[Slot, Tensor]]:
        for term in self.terms:
            yield from term.subgradient()


class ProximalStep(Regularized):
    """A proximal step after every step of the optimizer, with the size of `step_size`: zeros are exact.

    This is stochastic proximal gradient (Duchi & Singer 2009, FOBOS); with momentum it is as in Yun, Lozano &
    Yang 2021.
    """

    def after_step(self, step_sizes: Sequence[float]) -> None:
        for term, size in zip(self.terms, step_sizes, strict=True):
            for slot, value in term.parts(term.prox(term.read(), size)):
                slot.write(value)
