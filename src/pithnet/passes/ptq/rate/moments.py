"""What a layer is given and should give, as second moments over samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.errors import ModelError
from pithnet.tensor.rate_distortion.factors import cholesky_factor

_PULL = 0.1  # of the mean variance of the inputs: how strongly the target is drawn to the weights there are
_DAMPING = 0.01
_BANDS, _NARROWEST = 6, 192
_FAR = 10  # deviations: means farther from zero would cost the variances their digits
_ROUNDING = 8  # units in the last place: values that differ by no more are constant


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
        factor = cholesky_factor(self._damped(_PULL))
        wanted = self.cross + weight * (_PULL * self._scale())
        return torch.cholesky_solve(wanted.transpose(1, 2), factor).transpose(1, 2).contiguous()

    def hessian(self) -> Tensor:
        """Returns the covariance of x with a little on its diagonal, (G, K, K)."""
        return self._damped(_DAMPING)

    def _damped(self, share: float) -> Tensor:
        found = self.covariance.clone()
        found.diagonal(dim1=1, dim2=2).add_(share * self._scale()[..., 0])
        return found

    def _scale(self) -> Tensor:
        found = self.covariance.diagonal(dim1=1, dim2=2).mean(1)
        return torch.where(found > 0, found, 1.0)[:, None, None]

    def given(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of what other weights (G, O, K) give, (G, O) each."""
        mean = (weight @ self.inputs[:, :, None])[..., 0]
        return mean, ((weight @ self.covariance) * weight).sum(2).clamp(min=0)


class Sums:
    """Sums over samples from which moments are made, in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self._shifts: tuple[Tensor, Tensor] | None = None
        self._parts: list[Tensor] = []
        self._products = torch.empty(0)
        self._dtype = torch.float32

    def add(self, x: Tensor, y: Tensor) -> None:
        """Adds samples: what the layer is given, (G, K, n), and what it should give, (n, G O)."""
        y = y.t().unflatten(0, (len(x), -1))
        if self._shifts is None:
            self._shifts = _far_means(x, 2), _far_means(y, 2)
        x, y = (_moved(part, shift) for part, shift in zip((x, y), self._shifts, strict=True))
        parts = [x.sum(2), y.sum(2), y.square().sum(2), y @ x.transpose(1, 2)]
        if not self.count:
            self._parts = [torch.zeros_like(part, dtype=torch.float64) for part in parts]
            self._products = x.new_zeros(len(x), x.shape[1], x.shape[1], dtype=torch.float64)
            self._dtype = x.dtype
        for total, part in zip(self._parts, parts, strict=True):
            total += part
        for start, end in _bands(x.shape[1]):  # the rest is found by symmetry
            self._products[:, start:end, start:] += x[:, start:end] @ x[:, start:].transpose(1, 2)
        self.count += x.shape[2]

    def moments(self) -> Moments:
        """Returns the moments of all samples so far, in the dtype of the inputs; there can be no more after.

        Raises:
            ModelError: They are not finite.
        """
        assert self._shifts is not None
        inputs, outputs, squares, cross = (part / self.count for part in self._parts)
        covariance, self._products = self._products.div_(self.count), torch.empty(0)
        for start, end in _bands(covariance.shape[1]):
            covariance[:, end:, start:end] = covariance[:, start:end, end:].transpose(1, 2)
        # Covariances are those of the numbers as they were moved; means are moved back.
        covariance.baddbmm_(inputs[:, :, None], inputs[:, None], alpha=-1)
        cross = cross - outputs[:, :, None] * inputs[:, None]
        variance = (squares - outputs.square()).clamp(min=0)
        inputs, outputs = (
            mean + far.double() for mean, far in zip((inputs, outputs), self._shifts, strict=True)
        )
        limit = (_ROUNDING * torch.finfo(self._dtype).eps) ** 2
        constant = covariance.diagonal(dim1=1, dim2=2) <= limit * inputs.square()
        if bool(constant.any()):  # what the sums have left of these is noise
            covariance.masked_fill_(constant[:, :, None] | constant[:, None], 0.0)
            cross.masked_fill_(constant[:, None], 0.0)
        found = (inputs, covariance, outputs, variance, cross)
        if not all(bool(torch.isfinite(part.sum())) for part in found):
            raise ModelError("its inputs or outputs are NaN or inf; check the images and the layers before")
        return Moments(*(part.to(self._dtype) for part in found))


def _far_means(values: Tensor, axis: int) -> Tensor:
    """Returns the means over an axis that are many deviations from zero; 0 in the place of the others."""
    mean = values.mean(axis)
    return torch.where(mean.abs() > _FAR * values.std(axis, correction=0), mean, 0.0)


def _moved(values: Tensor, shift: Tensor) -> Tensor:
    return values - shift[..., None] if bool(shift.any()) else values


def _bands(size: int) -> list[tuple[int, int]]:
    """Returns the bands of rows in which a symmetric matrix is made, from the diagonal on."""
    step = max(-(-size // _BANDS), _NARROWEST)
    return [(start, min(start + step, size)) for start in range(0, size, step)]
