"""Layers as matrices: the weight (G, O, K), and what it multiplies at some positions of an output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pithnet.tensor.rate_distortion.contexts import Neighbours


@dataclass(frozen=True)
class LinearMatrix:
    """A linear layer: y = W x for every vector on the last axis."""

    layer: nn.Linear

    groups = 1

    def matrix(self, weight: Tensor) -> Tensor:
        """Returns the weight as (G, O, K): of each group, outputs by inputs."""
        return weight[None]

    def weight(self, matrix: Tensor) -> Tensor:
        """Returns the weight that a matrix stands for."""
        return matrix[0]

    def neighbours(self) -> Neighbours:
        """Returns which columns a file's coders see as neighbours."""
        features = self.layer.in_features
        return Neighbours.of_kernels(features, 1, features, self.layer.weight.device)

    def outputs(self, y: Tensor) -> Tensor:
        """Returns an output as vectors (N, positions, outputs)."""
        return y.reshape(len(y), -1, y.shape[-1]) if y.ndim > 2 else y.reshape(1, -1, y.shape[-1])

    def inputs(self, x: Tensor, y: Tensor, at: Tensor) -> Tensor:
        """Returns what the matrix multiplies at some positions of the output, (G, K, n).

        Args:
            x: What the layer is called with.
            y: What it gives.
            at: int64 (P,), positions; those of all samples are the same.
        """
        return self.outputs(x)[:, at].flatten(0, 1).t()[None]


@dataclass(frozen=True)
class ConvolutionMatrix:
    """A convolution of any dimensions, groups, dilation and padding, transposed or not."""

    layer: _ConvNd

    @property
    def groups(self) -> int:
        """The number of groups, G."""
        return int(self.layer.groups)

    @property
    def _transposed(self) -> bool:
        return isinstance(self.layer, _ConvTransposeNd)

    def matrix(self, weight: Tensor) -> Tensor:
        """Returns the weight as (G, O, K): of each group, outputs by inputs and kernel positions."""
        parts = weight.unflatten(0, (self.groups, -1))
        if self._transposed:  # (G, inputs, outputs, ...)
            parts = parts.transpose(1, 2)
        return parts.flatten(2)

    def weight(self, matrix: Tensor) -> Tensor:
        """Returns the weight that a matrix stands for."""
        shape = self.layer.weight.shape
        if not self._transposed:
            return matrix.reshape(shape)
        parts = matrix.unflatten(2, (-1, *shape[2:])).transpose(1, 2)
        return parts.reshape(shape)

    def neighbours(self) -> Neighbours:
        """Returns which columns a file's coders see as neighbours."""
        size, device = self.layer.kernel_size, self.layer.weight.device
        columns = math.prod(size) * self.layer.in_channels // self.groups
        return Neighbours.of_kernels(columns, size[-2] if len(size) > 1 else 1, size[-1], device)

    def outputs(self, y: Tensor) -> Tensor:
        """Returns an output as vectors (N, positions, outputs)."""
        return self._batched(y).flatten(2).transpose(1, 2)

    def _batched(self, x: Tensor) -> Tensor:
        return x if x.ndim == len(self.layer.kernel_size) + 2 else x[None]

    def inputs(self, x: Tensor, y: Tensor, at: Tensor) -> Tensor:
        """Returns what the matrix multiplies at some positions of the output, (G, K, n).

        Args:
            x: What the layer is called with.
            y: What it gives.
            at: int64 (P,), positions; those of all samples are the same.
        """
        x, size = self._batched(x), self._batched(y).shape[2:]
        x = x if self._transposed else self._padded(x)
        index = self._index(at, tuple(size), tuple(x.shape[2:]))  # (P, kernel positions)
        flat = F.pad(x.flatten(2), (0, 1))  # where no input meets the kernel there is zero
        found = flat.index_select(2, index.flatten()).unflatten(2, index.shape)  # (N, C, P, k)
        found = found.unflatten(1, (self.groups, -1))  # (N, G, C / G, P, k)
        return found.permute(1, 2, 4, 0, 3).flatten(3).flatten(1, 2)

    def _padded(self, x: Tensor) -> Tensor:
        mode = "constant" if self.layer.padding_mode == "zeros" else self.layer.padding_mode
        return F.pad(x, self.layer._reversed_padding_repeated_twice, mode=mode)

    def _index(self, at: Tensor, outputs: tuple[int, ...], inputs: tuple[int, ...]) -> Tensor:
        """Returns where in the flat input stands what each kernel position meets; its end for nothing."""
        layer, flat = self.layer, torch.zeros(1, 1, dtype=torch.int64, device=at.device)
        valid = torch.ones(1, 1, dtype=torch.bool, device=at.device)
        for axis in range(len(outputs)):
            place = at // math.prod(outputs[axis + 1 :]) % outputs[axis]
            kernel = torch.arange(layer.kernel_size[axis], device=at.device) * layer.dilation[axis]
            stride = layer.stride[axis]
            if self._transposed:
                moved = place[:, None] + int(layer.padding[axis]) - kernel
                fits = (moved % stride == 0) & (moved >= 0) & (moved < inputs[axis] * stride)
                moved = torch.where(fits, moved // stride, 0)
            else:
                moved = place[:, None] * stride + kernel
                fits = torch.ones_like(moved, dtype=torch.bool)
            flat = (flat[:, :, None] * inputs[axis] + moved[:, None]).flatten(1)
            valid = (valid[:, :, None] & fits[:, None]).flatten(1)
        return torch.where(valid, flat, math.prod(inputs))


Matrix = LinearMatrix | ConvolutionMatrix


def matrix_of(layer: nn.Module) -> Matrix | None:
    """Returns a layer as a matrix; None where it is neither linear nor a convolution."""
    if isinstance(layer, nn.Linear):
        return LinearMatrix(layer)
    return ConvolutionMatrix(layer) if isinstance(layer, _ConvNd) else None
