"""BatchNorm after the weights have changed: its statistics no longer fit what comes in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import ModelError
from pithnet.learn.batch import call
from pithnet.passes.calibration import Order, batches_of
from pithnet.passes.guard import guarded
from pithnet.passes.ptq.calls import Calls
from pithnet.surgery import evaluating, in_float32

_TINY = 1e-10


@guarded
@torch.no_grad()
def match_norms(model: nn.Module, reference: nn.Module, calibrate: Any) -> int:
    """Moves the statistics of every BN, in place, by what compressing changed; returns how many there are.

    On the same images the mean and variance of what comes into each BN are taken in `model` and in
    `reference`, the model before compression. The BN's mean becomes the reference's moved by their
    difference, its variance the reference's times their ratio: what the BN learned from all of its training
    data stays, and a second time changes nothing. One pass does it: batches go through both networks, and
    every BN is corrected by the batches so far before the next layer sees its output. Called several times in
    a forward, it is corrected by all its calls, each beside the same call in `reference`. The variance of a
    channel that is constant in either network stays. It warns as `quantize` does where the images are sorted
    by class.

    Args:
        model: The network after compression.
        reference: The network before compression.
        calibrate: A loader, or a tensor of images; labels are not needed.

    Raises:
        ModelError: The two networks differ in their BNs or call one more often.
        DataError: There are no images.
    """
    require_same_norms(model, reference)
    norms = _norms(model)
    with in_float32(model, reference):
        match_named_norms(model, reference, calibrate, norms)
    return len(norms)


def require_same_norms(model: nn.Module, reference: nn.Module) -> None:
    """Checks that two networks have the same BNs: one may be folded.

    Args:
        model: The network after compression.
        reference: The network before compression.

    Raises:
        ModelError: The networks differ in their BNs; the message names one.
    """
    odd = sorted(_norms(model).keys() ^ _norms(reference).keys())
    if odd:
        raise ModelError(
            f"model and reference differ in their BatchNorm layers ({odd[0]}); give the same network "
            "before compression, neither folded"
        )


@torch.no_grad()
def match_named_norms(model: nn.Module, reference: nn.Module, calibrate: Any, names: Collection[str]) -> None:
    """Does what `match_norms` does for some of the BNs, by name; the others stay as they are.

    Args:
        model: The network after compression.
        reference: The network before compression.
        calibrate: A loader, or a tensor of images.
        names: The BNs.
    """
    norms, theirs = ({n: m for n, m in _norms(net).items() if n in names} for net in (model, reference))
    expected: Calls[tuple[Tensor, Tensor]] = Calls()
    shifts = {name: _Shift(norm) for name, norm in theirs.items()}
    order = Order()
    with (
        evaluating(model),
        evaluating(reference),
        _watching(theirs, expected),
        _correcting(norms, shifts, expected),
    ):
        for inputs, labels in batches_of(model, calibrate):
            expected.clear()
            order.add(call(reference, inputs), labels)
            call(model, inputs)
    order.warn()


class _Shift:
    """How a BN differs from the reference's, in mean and in log variance: the mean of the calls so far."""

    def __init__(self, norm: _BatchNorm) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.mean, self.var = norm.running_mean.clone(), norm.running_var.clone()
        self.difference, self.ratio = torch.zeros_like(self.mean), torch.zeros_like(self.var)
        self.calls = 0

    def add(self, found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
        self.calls += 1
        (mean, var), (their_mean, their_var) = found, expected
        # A constant channel has no ratio; one near 0 would blow up the little that the channel tells.
        ratio = torch.where((var > _TINY) & (their_var > _TINY), (var / their_var).log(), 0.0)
        self.difference += (mean - their_mean - self.difference) / self.calls
        self.ratio += (ratio - self.ratio) / self.calls


@guarded
@torch.no_grad()
def reestimate_norms(model: nn.Module, calibrate: Any) -> int:
    """Takes the statistics of every BN anew from the images, in place; returns how many BNs there are.

    They are means over all batches, each normalised by its own statistics as in training. Give it batches of
    100 and more, and where the model before compression is at hand, prefer `match_norms`: statistics from few
    and plain images differ from those of a long training with augmented ones. After any error the statistics
    are as they were.

    Args:
        model: The network.
        calibrate: A loader, or a tensor of images; labels are not needed.

    Raises:
        DataError: There are no images.
    """
    norms = _norms(model)
    order = Order()
    with in_float32(model), evaluating(model), _anew(norms.values()):
        for inputs, labels in batches_of(model, calibrate):
            order.add(call(model, inputs), labels)
    order.warn()
    return len(norms)


@contextmanager
def _anew(norms: Collection[_BatchNorm]) -> Iterator[None]:
    """Begins statistics anew, as means over all batches, within; after an error they are as before."""
    before = [(norm, norm.momentum, [buffer.clone() for buffer in norm.buffers()]) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        yield
    except BaseException:
        for norm, _, values in before:
            for buffer, value in zip(norm.buffers(), values, strict=True):
                buffer.copy_(value)
        raise
    finally:
        for norm, momentum, _ in before:
            norm.momentum = momentum


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Returns the BNs that have statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and variance of each channel (C,) of (N, C, ...)."""
    over = [d for d in range(x.ndim) if d != 1]
    return x.mean(over), x.var(over, unbiased=False)


@contextmanager
def _watching(norms: Mapping[str, _BatchNorm], found: Calls[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Notes the statistics of what comes into each BN."""

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.add(name, _statistics(inputs[0]))

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
    expected: Calls[tuple[Tensor, Tensor]],
) -> Iterator[None]:
    """Corrects each BN by the batches so far, this one included, before it computes."""

    def correct(name: str) -> Any:
        def hook(module: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
            shift = shifts[name]
            shift.add(_statistics(inputs[0]), expected.take(name))
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
