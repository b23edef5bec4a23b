"""What data says about weights: gradients of a loss and norms of inputs, collected on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.learn import Loss, Objective, call, first_batch, seeded
from pithnet.learn.batch import tensors
from pithnet.learn.losses import check_loss
from pithnet.passes.calibration import batches_of
from pithnet.passes.input_norms import InputNorms
from pithnet.passes.layers import selected_layers
from pithnet.surgery import Weighted, in_float32, latent_weight
from pithnet.surgery.wrappers import unwrapped
from pithnet.tensor import Criterion

Found = dict[str, Tensor]
Layers = Sequence[tuple[str, Weighted]]
_OF_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gradient": lambda gradient: gradient,
    "gradient_magnitude": torch.abs,
}


class Reader(Protocol):
    """A criterion, of weights or of channels, as far as data goes."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def needs_batches(self) -> bool:
        """Whether it looks at what only data can tell."""

    @property
    def needs_labels(self) -> bool:
        """Whether it looks at gradients of a loss, which compares outputs with labels."""


def require_batches(criterion: Reader, batches: Any) -> None:
    """Refuses, with its name, a criterion that looks at data where there is none.

    Raises:
        RecipeError: `batches` is None.
    """
    if batches is None and criterion.needs_batches:
        what = "batches with labels" if criterion.needs_labels else "batches"
        raise RecipeError(f"criterion {criterion.name!r} needs {what}: give batches=, a loader or a list")


def require_repeatable(criterion: Reader, batches: Any, loss: Loss | None) -> None:
    """Refuses, before a training begins, batches that will not do if they are read again and again.

    Raises:
        RecipeError: The criterion looks at data and `batches` is None.
        DataError: The batches have no length or come only once, or the first one lacks labels that the
            criterion needs.
    """
    require_batches(criterion, batches)
    if criterion.needs_batches and first_batch(batches, "batches").targets is None:
        require_labels(criterion, loss, 0)


def collect(
    model: nn.Module,
    criterion: Criterion,
    batches: Any = None,
    loss: Loss | None = None,
    *,
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
) -> list[Found]:
    """Collects what `criterion` needs of data for each layer, by the names that Evidence has.

    Everything runs on a copy of the model in eval mode, on its device and in float32 at least: weights,
    buffers, gradients and modes of the model stay as they are, and so do the global random generators and
    the loader's. A shuffling loader gives the same batches every time. Gradients are those with respect to
    the tensors that train (`latent_weight`).

    Args:
        model: The network that is to be pruned.
        criterion: What looks at the evidence.
        batches: A loader of whatever `learn.read_batch` reads; it is read once.
        loss: `(outputs, targets) -> scalar`, a mean over samples; the cross-entropy of labels where None.
        skip: As `prune`'s.
        also: As `prune`'s.

    Returns:
        What was found, for each layer in the order of `selected_layers`.

    Raises:
        RecipeError: The criterion looks at data and `batches` is None.
        DataError: There is no batch, or a batch has no labels and there is no `loss`; as `check_labels`.
        ModelError: No gradient arrives at a layer, its inputs are not known, or what was found is NaN or inf;
            the message names the layer.
    """
    require_batches(criterion, batches)
    copied = copy.deepcopy(unwrapped(model)).eval()
    layers = selected_layers(copied, skip, also)
    gradients = _Gradients(criterion, layers, loss) if criterion.needs_labels else None
    norms = InputNorms(criterion.name, layers) if "input_norm" in criterion.needs else None
    with undisturbed(copied, batches), torch.set_grad_enabled(gradients is not None):
        copied.requires_grad_(False)
        for _, layer in layers if gradients else ():
            latent_weight(layer).requires_grad_(True)
        for inputs, targets in batches_of(copied, batches, "batches"):
            outputs = norms.watch(copied, inputs) if norms else call(copied, inputs)
            if gradients:
                gradients.add(outputs, targets, len(next(tensors(inputs))))
    found: list[Found] = [{} for _ in layers]
    for part in (gradients, norms):
        for known, new in zip(found, part.result() if part else found, strict=True):
            known.update(new)
    _require_finite(criterion, layers, found)
    return found


class _Gradients:
    """Means over batches of what a criterion needs of gradients; each batch has the weight of its size."""

    def __init__(self, criterion: Criterion, layers: Layers, loss: Loss | None) -> None:
        self.criterion, self.layers, self.loss = criterion, layers, loss
        self.objective = Objective(loss=loss)
        self.sums: list[Found] = [{} for _ in layers]
        self.samples = self.number = 0

    def add(self, outputs: Any, targets: Any, size: int) -> None:
        if targets is None:
            require_labels(self.criterion, self.loss, self.number)
        value = check_loss(self.objective(outputs, targets, None))
        weights = [latent_weight(layer) for _, layer in self.layers]
        found: Sequence[Tensor | None] = [None] * len(weights)
        if value.requires_grad:
            found = torch.autograd.grad(value, weights, allow_unused=True)
        self.samples, self.number = self.samples + size, self.number + 1
        for sums, gradient in zip(self.sums, found, strict=True):
            for name in self.criterion.needs & _OF_GRADIENTS.keys() if gradient is not None else ():
                assert gradient is not None
                new = _OF_GRADIENTS[name](gradient) * size
                sums[name] = sums[name].add_(new) if name in sums else new

    def result(self) -> list[Found]:
        for (name, _), sums in zip(self.layers, self.sums, strict=True):
            if not sums:
                raise ModelError(
                    f"criterion {self.criterion.name!r}: no gradient of the loss arrives at {name}; add it "
                    "to skip, or choose a criterion that looks at weights alone"
                )
        return [{key: value / self.samples for key, value in sums.items()} for sums in self.sums]


@contextmanager
def undisturbed(model: nn.Module, batches: Any) -> Iterator[None]:
    """Lets the model compute in float32, by the layers' own code; chance and the loader are as before then.

    Args:
        model: A copy of the user's network.
        batches: The loader that is read.
    """
    epoch = getattr(batches, "epoch", None)
    fast = torch.backends.mha.get_fastpath_enabled()
    device = next((p.device.type for p in model.parameters()), "cpu")
    with ExitStack() as stack:
        for part in (seeded(0, batches=batches), in_float32(model), torch.autocast(device, enabled=False)):
            stack.enter_context(part)
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            # cuDNN has no backward pass for recurrent layers in eval mode.
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        # The fast path of attention runs without its layers, and so without their hooks.
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            if isinstance(epoch, int):
                batches.epoch = epoch


def require_labels(criterion: Reader, loss: Loss | None, number: int) -> None:
    """Refuses a batch without labels, where the criterion needs them and has no `loss`.

    Args:
        criterion: What looks at gradients.
        loss: The user's own, or None.
        number: The batch's, for the message.

    Raises:
        DataError: The criterion needs labels and there is no loss of the user's.
    """
    if criterion.needs_labels and loss is None:
        raise DataError(
            f"criterion {criterion.name!r} needs labels, and batch {number} has none; yield (x, y), or give "
            "loss=, a function of (outputs, targets)"
        )


def _require_finite(criterion: Criterion, layers: Layers, found: Sequence[Found]) -> None:
    for (name, _), known in zip(layers, found, strict=True):
        for what, value in known.items():
            if not bool(torch.isfinite(value).all()):
                raise ModelError(
                    f"criterion {criterion.name!r}: the {what} of {name} holds NaN or inf; look for extreme "
                    "or missing values in the batches and the loss"
                )
