"""int32 biases: on the grid of the sums, and fitting even where a channel's weights are next to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pithnet.deploy import agreement, export_onnx, operators, static_int8, with_stored_biases
from pithnet.surgery import activation_quantizers

from .conftest import Exported
from .quantized import round_, settled


def arrays(path: Path) -> dict[str, np.ndarray]:
    return {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


def test_biases_are_int32_on_the_grid_of_the_sums(digits_int8: Exported) -> None:
    stored, model = arrays(digits_int8.path), digits_int8.model
    steps = [q.scale.numpy() for q in activation_quantizers(model).values()]
    for layer, step in zip(("conv1", "conv2"), steps, strict=False):
        np.testing.assert_array_equal(stored[f"{layer}.bias_scale"], step * stored[f"{layer}.weight_scale"])
        assert stored[f"{layer}.bias_int32"].dtype == np.int32
        exact = model.get_submodule(layer).bias.detach().numpy()
        rounded = stored[f"{layer}.bias_int32"] * stored[f"{layer}.bias_scale"]
        assert 0 < np.abs(rounded - exact).max() <= stored[f"{layer}.bias_scale"].max() / 2
        simulated = with_stored_biases(model, digits_int8.path).get_submodule(layer)
        np.testing.assert_allclose(simulated.bias.detach().numpy(), rounded, rtol=1e-6)


def test_a_model_in_float_keeps_its_biases(digits_float: Exported) -> None:
    assert {a.dtype for a in arrays(digits_float.path).values()} <= {np.dtype("float32"), np.dtype("int64")}


@pytest.fixture(scope="module")
def tiny_channel(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Channels of weights near 1e-13 and of zeros, with large biases.

    Pooling between quantizer and layer; two layers with the same bias.
    """
    torch.manual_seed(0)
    first, second, last = nn.Conv2d(1, 4, 3), nn.Linear(36, 5), nn.Linear(5, 5)
    with torch.no_grad():
        first.weight[0] *= 1e-12
        first.weight[1] = 0
        first.bias[:2] = torch.tensor([2, -1.5])
        last.bias.copy_(second.bias)
        for layer in (first, second, last):
            round_(layer.weight[2:] if layer is first else layer.weight)
        round_(first.weight[:1])
    grids = (settled(0.03, 128), settled(0.02, 110), settled(0.03, 128), settled(0.01, 128))
    model = nn.Sequential(
        grids[0], first, grids[1], nn.MaxPool2d(2), nn.Flatten(), second, grids[2], last, grids[3]
    ).eval()
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    export_onnx(static_int8(model).model, (1, 8, 8), path)
    return Exported(path, model, torch.randn(32, 1, 8, 8))


def test_a_bias_too_large_for_its_channels_step_still_fits(tiny_channel: Exported) -> None:
    stored = arrays(tiny_channel.path)
    assert (stored["1.bias_int32"] * stored["1.bias_scale"])[:2] == pytest.approx([2, -1.5], rel=1e-6)
    assert 2**29 < np.abs(stored["1.bias_int32"][:2]).max() <= 2**30
    simulated = with_stored_biases(tiny_channel.model, tiny_channel.path)
    same = agreement(tiny_channel.path, simulated, [tiny_channel.images])
    assert same.max_difference <= 1.001 * same.step


def test_pooling_between_quantizer_and_layer_is_no_obstacle(tiny_channel: Exported) -> None:
    found = operators(tiny_channel.path)
    assert (found.int8("convolution"), found.int8("linear layer")) == (1, 2)
    assert arrays(tiny_channel.path)["5.bias_int32"].dtype == np.int32


def test_layers_with_the_same_bias_keep_their_own_grids(tiny_channel: Exported) -> None:
    stored, bias = arrays(tiny_channel.path), tiny_channel.model[5].bias.detach().numpy()
    for layer in ("5", "7"):
        scale = stored[f"{layer}.bias_scale"]
        np.testing.assert_allclose(stored[f"{layer}.bias_int32"] * scale, bias, atol=scale.max() / 2)
    assert not np.array_equal(stored["5.bias_int32"], stored["7.bias_int32"])
