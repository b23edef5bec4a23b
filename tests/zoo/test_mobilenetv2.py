"""MobileNetV2 for 32x32 images: keys and shapes of public checkpoints, and what a block computes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pithnet import zoo
from pithnet.errors import ModelError

# Inputs and outputs of the 17 blocks (Sandler et al. 2018, table 2), and those of stride 2 at 32x32.
CHANNELS = (32, 16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320)
HALVING = (3, 6, 13)


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def block(n: int, c_in: int, c_out: int) -> dict[str, tuple[int, ...]]:
    inside, name = c_in if n == 0 else 6 * c_in, f"layers.{n}"
    keys: dict[str, tuple[int, ...]] = {
        f"{name}.conv1.weight": (inside, c_in, 1, 1),
        f"{name}.conv2.weight": (inside, 1, 3, 3),
        f"{name}.conv3.weight": (c_out, inside, 1, 1),
    }
    keys |= norm(f"{name}.bn1", inside) | norm(f"{name}.bn2", inside) | norm(f"{name}.bn3", c_out)
    if n not in HALVING and c_in != c_out:
        keys |= {f"{name}.shortcut.0.weight": (c_out, c_in, 1, 1)} | norm(f"{name}.shortcut.1", c_out)
    return keys


def public() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a public checkpoint."""
    keys = {"conv1.weight": (32, 3, 3, 3), "conv2.weight": (1280, 320, 1, 1)}
    keys |= norm("bn1", 32) | norm("bn2", 1280)
    for n, (c_in, c_out) in enumerate(pairwise(CHANNELS)):
        keys |= block(n, c_in, c_out)
    return keys | {"linear.weight": (10, 1280), "linear.bias": (10,)}


def test_keys_and_shapes_are_those_of_public_checkpoints() -> None:
    model = zoo.build("mobilenetv2")
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == public()
    assert sum(p.numel() for p in model.parameters()) == 2_296_922


def test_a_public_checkpoint_loads_with_its_prefix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {key: torch.rand(shape) for key, shape in public().items()}
    torch.save({"net": {f"module.{k}": v for k, v in state.items()}, "acc": 94.4}, tmp_path / "ckpt.pth")
    model = zoo.load("mobilenetv2", tmp_path / "ckpt.pth")
    assert all(torch.equal(model.get_parameter(name), state[name]) for name, _ in model.named_parameters())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_block_adds_its_input_where_the_stride_is_1(number: int) -> None:
    """Block 1 projects its shortcut, block 2 adds its input, block 3 halves the image and adds nothing."""
    torch.manual_seed(0)
    b = zoo.build("mobilenetv2").eval().layers[number]
    x = torch.randn(2, CHANNELS[number], 8, 8)
    y = F.relu(b.bn1(b.conv1(x)))
    y = b.bn3(b.conv3(F.relu(b.bn2(b.conv2(y)))))
    expected = {1: lambda: y + b.shortcut[1](b.shortcut[0](x)), 2: lambda: y + x, 3: lambda: y}[number]()
    assert torch.equal(b(x), expected)
    assert b(x).shape[-1] == (4 if number in HALVING else 8)


def test_images_of_32_pixels_are_pooled_from_4() -> None:
    model = zoo.build("mobilenetv2", width=4).eval()
    seen: list[torch.Size] = []
    model.bn2.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    assert model(torch.randn(2, *zoo.input_shape("mobilenetv2"))).shape == (2, 10)
    assert seen == [(2, 160, 4, 4)]


def test_every_parameter_learns_at_a_smaller_width() -> None:
    torch.manual_seed(0)
    model = zoo.build("mobilenetv2", width=4, classes=3)
    assert model.architecture == ("mobilenetv2", {"width": 4, "classes": 3})
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)][:4] == [4, 4, 4, 2]
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_a_width_that_does_not_divide_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"does not take these arguments: .* \(width 6 is not a multiple of 4\)"
    ):
        zoo.build("mobilenetv2", width=6)
