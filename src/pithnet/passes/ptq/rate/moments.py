"""What a layer is given and should give, as second moments over samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.errors import ModelError

_PULL = 0.1  # of the mean variance of the inputs: how strongly the target is drawn to the weights there are
_DAMPING = 0.01


@dataclass(frozen=True)
class Moments:
    """Means and covariances of a layer's inputs x and of the outputs y = W x that it should give.

    Attributes:
        inputs: (G, K), means of x.
        covariance: (G, K, K), of x.
        outputs: (G, O), means of y.
        variance: (G, O), of y.
        cross: (G, O, K), covariances of y and x.
    """

    inputs: Tensor
    covariance: Tensor
    outputs: Tensor
    variance: Tensor
    cross: Tensor

    def target(self, weight: Tensor) -> Tensor:
        """Returns the weights (G, O, K) that give y best, drawn to those given where inputs say little."""
        pull = _PULL * self._scale() * _eye(self.covariance)
        wanted = self.cross + weight @ pull
        return torch.linalg.solve(self.covariance + pull, wanted, left=False)

    def hessian(self) -> Tensor:
        """Returns the covariance of x with a little on its diagonal, (G, K, K)."""
        return self.covariance + _DAMPING * self._scale() * _eye(self.covariance)

    def _scale(self) -> Tensor:
        found = self.covariance.diagonal(dim1=1, dim2=2).mean(1)
        return torch.where(found > 0, found, 1.0)[:, None, None]

    def given(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of what other weights (G, O, K) give, (G, O) each."""
        mean = (weight @ self.inputs[:, :, None])[..., 0]
        return mean, ((weight @ self.covariance) * weight).sum(2).clamp(min=0)


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[1], dtype=like.dtype, device=like.device)


class Sums:
    """Sums over samples from which moments are made, in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: list[Tensor] = []
        self._dtype = torch.float32

    def add(self, x: Tensor, y: Tensor) -> None:
        """Adds samples: what the layer is given, (G, K, n), and what it should give, (n, G O)."""
        y = y.t().unflatten(0, (len(x), -1))
        parts = [x.sum(2), y.sum(2), y.square().sum(2), x @ x.transpose(1, 2), y @ x.transpose(1, 2)]
        parts = [part.double() for part in parts]
        self._parts = [a + b for a, b in zip(self._parts, parts, strict=True)] if self._parts else parts
        self.count, self._dtype = self.count + x.shape[2], x.dtype

    def moments(self) -> Moments:
        """Returns the moments of all samples so far, in the dtype of the inputs.

        Raises:
            ModelError: They are not finite.
        """
        inputs, outputs, squares, products, cross = (part / self.count for part in self._parts)
        covariance = products - inputs[:, :, None] * inputs[:, None]
        cross = cross - outputs[:, :, None] * inputs[:, None]
        variance = (squares - outputs.square()).clamp(min=0)
        found = (inputs, covariance, outputs, variance, cross)
        if not all(bool(torch.isfinite(part).all()) for part in found):
            raise ModelError("its inputs or outputs are NaN or inf; check the images and the layers before")
        return Moments(*(part.to(self._dtype) for part in found))
