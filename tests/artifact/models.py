"""Small networks whose files the tests write and read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pithnet import zoo


class Tied(nn.Module):
    """An embedding and an output layer that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.norm = nn.BatchNorm1d(6)
        self.out = nn.Linear(6, 11)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.embed(x)))


class Assorted(nn.Module):
    """Buffers of every dtype a file can hold, an empty tensor and scalars."""

    def __init__(self) -> None:
        super().__init__()
        wide = torch.linspace(-3, 3, 30, dtype=torch.float64).sin().view(5, 6)
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32):
            self.register_buffer(f"buffer_{str(dtype)[6:]}", (wide * 100).to(dtype))
        self.register_buffer("float64_exact", torch.arange(40, dtype=torch.float64).view(4, 10) / 4)
        self.register_buffer("float64_short", torch.randn(50).double())
        self.register_buffer("buffer_int64", torch.arange(-600, 600).view(30, 40))
        self.register_buffer("buffer_uint8", torch.arange(256, dtype=torch.uint8))
        self.register_buffer("buffer_bool", torch.arange(19) % 3 == 0)
        self.register_buffer("empty", torch.zeros(3, 0, 2))
        self.register_buffer("scalar", torch.tensor(0.1))
        self.register_buffer("counter", torch.tensor(7))


def shared_(model: nn.Module, zeros: float, levels: int) -> nn.Module:
    """In place: prunes by magnitude in each weight, rounds the rest to `levels` levels used alike."""
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.ndim > 1):
            keep = weight.abs() > torch.quantile(weight.abs(), zeros)
            edges = torch.quantile(weight[keep], (torch.arange(levels) + 0.5) / levels)
            nearest = edges[torch.bucketize(weight, (edges[1:] + edges[:-1]) / 2)]
            weight.copy_(torch.where(keep, nearest, 0.0))
    return model


def fold_(model: nn.Module) -> nn.Module:
    """In place: BatchNorm layers lose their statistics, scale and shift get short values."""
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.copy_((torch.rand_like(norm.weight) * 64).round() / 64)
            norm.bias.copy_((torch.randn_like(norm.bias) * 32).round() / 64)
    return model


def trained_like(name: str, seed: int = 0, **arguments: int) -> nn.Module:
    """A zoo network with BatchNorm layers that have seen data."""
    torch.manual_seed(seed)
    model = zoo.build(name, **arguments)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.num_batches_tracked.fill_(100)
    return model
