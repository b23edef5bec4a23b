"""Train and eval mode of a network's modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts a model in eval mode within; afterwards every module has its own mode again, frozen ones too."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def always_training(model: nn.Module) -> set[nn.Module]:
    """Returns the modules that a model's `eval` leaves in train mode.

    The model, or a part of it, then has an `eval` or `train` of its own.
    """
    with evaluating(model):
        return {module for module in model.modules() if module.training}


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Returns what fine-tuning froze by eval mode in a model that is itself in train mode.

    That is a module without submodules (BatchNorm, Dropout) or without a parameter that trains, in eval mode
    under a parent in train mode, and everything in eval mode within it. A model, or a trainable block of
    several modules, that is in eval mode as a whole says how it was last used, not how to train it.
    """
    if not model.training:
        return []
    parents = [module for module in model.modules() if module.training]
    tops = [m for parent in parents for m in parent.children() if not m.training and _is_frozen(m)]
    return [module for top in tops for module in top.modules() if not module.training]


def train_(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Puts a model in train mode, in place, but each of the `frozen` modules that are its own in eval mode.

    Args:
        model: Any network.
        frozen: Modules, without those within them.
    """
    model.train()
    for module in frozen:
        module.training = False


def _is_frozen(module: nn.Module) -> bool:
    return not any(True for _ in module.children()) or not any(p.requires_grad for p in module.parameters())
