"""Networks that lost channels are exported to ONNX, in float and in int8, as any others."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.deploy import OnnxSession, export_onnx
from pithnet.surgery import cut_channels, find_channels
from tests.surgery.channels.networks import built

SIX = (
    "concat",
    "split_and_shuffle",
    "squeeze_and_excitation",
    "grouped_and_group_norm",
    "BuiltInSizes",
    "depthwise",
)


class Beside(nn.Module):
    """Networks with one input, their scores beside each other: one export, which takes seconds, for all."""

    def __init__(self, *models: nn.Module) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([model(x) for model in self.models], 1)


def halved(name: str) -> nn.Module:
    model, inputs = built(name)
    found = find_channels(model, inputs)
    removed = {n for group in found.groups if not group.frozen for n in group.channels[1::2]}
    small = cut_channels(model, found, removed).float()
    assert sum(p.numel() for p in small.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())
    return small


def errors(path: Path, model: nn.Module, images: Tensor) -> list[float]:
    """For each network the relative error of a file's answers (Frobenius)."""
    with torch.no_grad():
        expected = model(images).chunk(len(SIX), 1)
    found = torch.from_numpy(OnnxSession(path, threads=1)(images.numpy())).chunk(len(SIX), 1)
    return [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]


def test_six_cut_networks_in_float_and_int8(tmp_path: Path) -> None:
    model = Beside(*map(halved, SIX)).eval()
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    export_onnx(model, (3, 8, 8), tmp_path / "float.onnx")
    assert max(errors(tmp_path / "float.onnx", model, images)) < 1e-5
    exported = pn.export_int8(model, images, tmp_path / "int8.onnx")
    # 8 bits: a step of 1/255 of a range in each of a few places.
    assert max(errors(tmp_path / "int8.onnx", model, images)) < 0.1
    assert exported.simulation.relative_error < exported.agreement.relative_error / 5
    assert "Conv" not in exported.float_operators
