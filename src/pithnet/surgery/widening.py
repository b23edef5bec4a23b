"""Models in half precision, computed in float32 for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pithnet.surgery.weights.chains import chain, latent_weight
from pithnet.surgery.weights.holders import weighted_layers

_HALVES = (torch.float16, torch.bfloat16)


@contextmanager
def in_float32(*models: nn.Module) -> Iterator[None]:
    """Makes float16 and bfloat16 tensors of the models float32 within; their own dtype comes back after.

    Steps of Adam, sums over images and ratios of variances leave the range of float16 or are lost in its
    rounding. Parameters stay the same objects. What is added to a weight's parametrizations within gets the
    dtype of that weight.
    """
    tensors = {id(t): t for model in models for t in (*model.parameters(), *model.buffers())}
    before = {key: tensor.dtype for key, tensor in tensors.items() if tensor.dtype in _HALVES}
    try:
        for key in before:
            tensors[key].data = tensors[key].data.float()
        yield
    finally:
        for model in models if before else ():
            for tensor, dtype in _added(model, before):
                tensor.data = tensor.data.to(dtype)
        for key, dtype in before.items():
            tensors[key].data = tensors[key].data.to(dtype)


def _added(model: nn.Module, before: dict[int, torch.dtype]) -> Iterator[tuple[Tensor, torch.dtype]]:
    """Yields tensors of parametrizations that were not there before, with the dtype of their weight."""
    for _, layer in weighted_layers(model):
        dtype = before.get(id(latent_weight(layer)))
        for part in chain(layer) if dtype else ():
            for tensor in (*part.parameters(), *part.buffers()):
                if tensor.dtype == torch.float32 and id(tensor) not in before:
                    assert dtype is not None
                    yield tensor, dtype
