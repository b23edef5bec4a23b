"""The zoo's networks: shapes, sizes, names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.errors import ModelError

# Parameters of the CIFAR ResNets with shortcut A, thousands: He et al. 2016, table 6.
PUBLISHED = {"resnet20": 270, "resnet32": 460, "resnet44": 660, "resnet56": 850, "resnet110": 1700}


@pytest.mark.parametrize(("name", "thousands"), PUBLISHED.items())
def test_resnets_have_the_published_depth_and_size(name: str, thousands: int) -> None:
    model = zoo.build(name)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == pytest.approx(1000 * thousands, rel=0.02)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("resnet"))


def test_resnet20_has_the_public_checkpoints_names_and_size() -> None:
    state = zoo.build("resnet20").state_dict()
    assert 4 * sum(v.numel() for v in state.values() if v.is_floating_point()) == 1_084_392
    for key in (
        "conv1.weight",
        "bn1.running_var",
        "layer2.0.conv1.weight",
        "layer3.2.bn2.bias",
        "linear.bias",
    ):
        assert key in state
    assert not any("shortcut" in key for key in state)
    assert state["layer2.0.conv1.weight"].shape == (32, 16, 3, 3)


@pytest.mark.parametrize("name", ["resnet20", "resnet20b"])
def test_resnets_give_logits_and_gradients_everywhere(name: str) -> None:
    model = zoo.build(name, classes=7)
    out = model(torch.randn(2, 3, 32, 32))
    assert out.shape == (2, 7)
    out.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_shortcut_a_keeps_every_second_pixel_between_zero_channels() -> None:
    shortcut = zoo.build("resnet20").layer2[0].shortcut
    x = torch.randn(2, 16, 8, 8)
    y = shortcut(x)
    assert y.shape == (2, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_shortcut_b_projects_with_its_published_names() -> None:
    state = zoo.build("resnet20b").state_dict()
    assert state["layer2.0.shortcut.0.weight"].shape == (32, 16, 1, 1)
    assert "layer3.0.shortcut.1.running_mean" in state
    assert not any("layer1.0.shortcut" in key for key in state)


def test_the_digits_network_takes_its_width() -> None:
    model = zoo.build("digits-cnn", width=6, classes=3)
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    assert model.architecture == ("digits-cnn", {"width": 6, "classes": 3})


def test_an_unknown_name_gets_its_nearest() -> None:
    with pytest.raises(ModelError, match=r"unknown architecture 'resnet21'\. Did you mean .*resnet20"):
        zoo.build("resnet21")


@pytest.mark.parametrize("arguments", [{"depth": 3}, {"classes": "ten"}, {"classes": -1}, {"width": 2}])
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="'resnet20' does not take these arguments"):
        zoo.build("resnet20", **arguments)
