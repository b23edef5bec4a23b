"""Models and files that several tests look at; exporting takes seconds, so each is exported once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pithnet import zoo
from pithnet.deploy import export_onnx, static_int8

from .quantized import quantized


class Exported(NamedTuple):
    """A file, the model whose answers it must give, and images for it."""

    path: Path
    model: nn.Module
    images: Tensor


def network(name: str, **arguments: int) -> nn.Module:
    """A zoo network in eval mode with seeded weights, its BN as after a training."""
    torch.manual_seed(0)
    model = zoo.build(name, **arguments).eval()
    for bn in model.modules():
        if isinstance(bn, nn.BatchNorm2d):
            nn.init.uniform_(bn.weight, 0.5, 1.5)
            nn.init.normal_(bn.bias, 0, 0.3)
            nn.init.uniform_(bn.running_var, 0.5, 2)
    return model


def exported_int8(name: str, folder: Path, images: Tensor, bits: int = 8, **arguments: int) -> Exported:
    model = quantized(network(name, **arguments), images, bits)
    lowered = static_int8(model)
    assert lowered.in_float == ()
    export_onnx(lowered.model, tuple(images.shape[1:]), folder / f"{name}.onnx")
    return Exported(folder / f"{name}.onnx", model, images)


@pytest.fixture(scope="session")
def digits_float(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model, path = network("digits-cnn", width=8), tmp_path_factory.mktemp("onnx") / "float.onnx"
    export_onnx(model, (1, 8, 8), path, {"made": "here"})
    return Exported(path, model, torch.randn(32, 1, 8, 8))


@pytest.fixture(scope="session")
def digits_int8(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(1)
    return exported_int8("digits-cnn", tmp_path_factory.mktemp("int8"), torch.randn(32, 1, 8, 8), width=8)
