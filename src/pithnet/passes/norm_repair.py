"""BatchNorm after the weights have changed: its statistics no longer fit what comes in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import ModelError
from pithnet.learn.evaluation import evaluating
from pithnet.passes.calibration import Order, images_of

_TINY = 1e-10


@torch.no_grad()
def match_norms(model: nn.Module, reference: nn.Module, calibrate: Any) -> int:
    """Moves the statistics of every BN, in place, by what compressing changed; returns how many there are.

    On the same images the mean and variance of what comes into each BN are taken in `model` and in
    `reference`, the model before compression. The BN's mean becomes the reference's moved by their
    difference, its variance the reference's times their ratio: what the BN learned from all of its training
    data stays, and a second time changes nothing. One pass: batches go through both networks, and every BN is
    corrected by the batches so far before the next layer sees its output.
    Warns as `quantize` where the images are sorted by class. Raises ModelError where the two networks differ
    in their BNs; DataError without images.
    """
    norms, theirs = _norms(model), _norms(reference)
    if norms.keys() != theirs.keys():
        odd = sorted(norms.keys() ^ theirs.keys())[:1]
        raise ModelError(
            f"model and reference differ in their BatchNorm layers ({', '.join(odd)}); give the same network "
            "before compression, neither folded"
        )
    match_named_norms(model, reference, calibrate, norms)
    return len(norms)


@torch.no_grad()
def match_named_norms(model: nn.Module, reference: nn.Module, calibrate: Any, names: Collection[str]) -> None:
    """`match_norms` for some of the BNs, by name; the others stay as they are."""
    norms, theirs = ({n: m for n, m in _norms(net).items() if n in names} for net in (model, reference))
    expected: dict[str, tuple[Tensor, Tensor]] = {}
    shifts = {name: _Shift(norm) for name, norm in theirs.items()}
    order, device = Order(), next(model.parameters()).device
    with (
        evaluating(model),
        evaluating(reference),
        _watching(theirs, expected),
        _correcting(norms, shifts, expected),
    ):
        for images, labels in images_of(calibrate, device):
            order.add(reference(images), labels)
            model(images)
    order.warn()


class _Shift:
    """How a BN differs from the reference's, in mean and in log variance: the mean of the batches so far."""

    def __init__(self, norm: _BatchNorm) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.mean, self.var = norm.running_mean.clone(), norm.running_var.clone()
        self.difference, self.ratio = torch.zeros_like(self.mean), torch.zeros_like(self.var)
        self.batches = 0

    def add(self, found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
        self.batches += 1
        (mean, var), (their_mean, their_var) = found, expected
        ratio = (var.clamp(min=_TINY) / their_var.clamp(min=_TINY)).log()
        self.difference += (mean - their_mean - self.difference) / self.batches
        self.ratio += (ratio - self.ratio) / self.batches


@torch.no_grad()
def reestimate_norms(model: nn.Module, calibrate: Any) -> int:
    """Takes the statistics of every BN anew from the images, in place; returns how many BNs there are.

    Means over all batches, each normalised by its own statistics as in training. Give it batches of 100 and
    more, and where the model before compression is at hand, prefer `match_norms`: statistics from few and
    plain images differ from those of a long training with augmented ones. Raises DataError without images.
    """
    norms = _norms(model)
    momenta = {name: norm.momentum for name, norm in norms.items()}
    device = next(model.parameters()).device
    order = Order()
    with evaluating(model):
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        for images, labels in images_of(calibrate, device):
            order.add(model(images), labels)
    for name, norm in norms.items():
        norm.momentum = momenta[name]
    order.warn()
    return len(norms)


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The BNs that have statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel (C,) of (N, C, ...)."""
    over = [d for d in range(x.ndim) if d != 1]
    return x.mean(over), x.var(over, unbiased=False)


@contextmanager
def _watching(norms: Mapping[str, _BatchNorm], found: dict[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Notes the statistics of what comes into each BN."""

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[name] = _statistics(inputs[0])

        return hook

    handles = [norm.register_forward_pre_hook(note(name)) for name, norm in norms.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _correcting(
    norms: Mapping[str, _BatchNorm],
    shifts: Mapping[str, _Shift],
    expected: Mapping[str, tuple[Tensor, Tensor]],
) -> Iterator[None]:
    """Corrects each BN by the batches so far, this one included, before it computes."""

    def correct(name: str) -> Any:
        def hook(module: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
            shift = shifts[name]
            shift.add(_statistics(inputs[0]), expected[name])
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(shift.mean + shift.difference)
            module.running_var.copy_(shift.var * shift.ratio.exp())

        return hook

    handles = [norm.register_forward_pre_hook(correct(name)) for name, norm in norms.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
