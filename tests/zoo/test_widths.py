"""Networks of the zoo are built with the widths that a table, a share or a file gives their layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.errors import ModelError

# At an eighth VGG-16's first linear layer would still have 100 million weights.
SMALLER = {"vgg16-imagenet": {"hidden": 64, "width": 8, "classes": 7}}


@pytest.mark.parametrize("name", zoo.ARCHITECTURES)
def test_an_eighth_has_an_eighth_of_every_layer_and_is_built_again_from_its_own_numbers(name: str) -> None:
    rest = SMALLER.get(name, {"classes": 7})
    full, small = (zoo.build_weightless(name, **rest, **more) for more in ({}, {"scale": 1 / 8}))
    last = [layer for layer, module in full.named_modules() if isinstance(module, nn.Linear)][-1]
    for layer, width in zoo.widths_of(full).items():
        found = zoo.widths_of(small)[layer]
        assert found == (7 if layer == last else max(width // 8, 0 if layer.endswith(".before") else 1)), (
            layer
        )
    assert set(small.architecture[1]) == {*rest, "widths"}  # type: ignore[arg-type,index]
    for widths in (zoo.widths_of(small), small.architecture[1]["widths"]):  # type: ignore[index]
        again = zoo.build_weightless(name, **rest, widths=widths)
        assert again.architecture == small.architecture
        shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (again, small)]
        assert shapes[0] == shapes[1]


def test_the_usual_widths_are_not_said() -> None:
    full = zoo.build("resnet20")
    assert zoo.build("resnet20", scale=1).architecture == ("resnet20", {})
    assert zoo.build("resnet20", widths=zoo.widths_of(full)).architecture == ("resnet20", {})


def test_one_of_joined_layers_says_it_for_all_and_the_rest_is_as_usual() -> None:
    model = zoo.build("resnet20", widths={"layer2.1.conv2": 21, "layer3.0.conv1": 5})
    found = zoo.widths_of(model)
    assert [found[f"layer2.{n}.conv2"] for n in range(3)] == [21, 21, 21]
    assert (found["layer3.0.conv1"], found["layer3.1.conv1"], found["layer2.0.conv1"]) == (5, 64, 32)
    assert (model.layer2[0].shortcut.before, model.layer2[0].shortcut.after) == (2, 3)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    small = zoo.build("mobilenetv2", scale=1 / 8, widths={"layers.1.conv2": 7, "layers.1.shortcut.0": 5})
    assert (small.layers[1].conv1.out_channels, small.layers[2].conv3.out_channels) == (7, 5)
    assert small(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_zeros_of_a_shortcut_stand_where_the_widths_say() -> None:
    widths = {"conv1": 3, "layer2.0.conv2": 9, "layer2.0.shortcut.before": 5}
    shortcut = zoo.build("resnet20", widths=widths).layer2[0].shortcut
    x = torch.randn(1, 3, 4, 4)
    y = shortcut(x)
    assert torch.equal(y[:, 5:8], x[:, :, ::2, ::2])
    assert y.count_nonzero() == x[:, :, ::2, ::2].numel()


def test_a_small_network_from_scratch_begins_as_one_of_its_own_size_does() -> None:
    """Filters of fewer inputs begin larger: their deviation is that of Kaiming's rule at their own size."""
    torch.manual_seed(0)
    small = zoo.build("resnet20", widths={"layer3.1.conv1": 256, "layer3.0.conv1": 4})
    weight = small.layer3[0].conv2.weight
    assert float(weight.detach().std()) == pytest.approx((2 / (4 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": {"conv1": 0}}, "conv1 is 0; choose a whole number from 1 to 1048576"),
        ({"widths": {"conv1": -1}}, "conv1 is -1"),
        ({"widths": {"conv1": 2**31}}, "conv1 is 2147483648"),
        ({"widths": {"conv1": True}}, "conv1 is True"),
        ({"widths": {"conv1": 4.0}}, r"conv1 is 4\.0"),
        ({"widths": {3: 4}}, "3 is no name of a layer"),
        ({"widths": 5}, "widths are a table"),
        ({"widths": "conv1"}, "widths are a table"),
        (
            {"widths": {"layer1.0.conv3": 4}},
            r"unknown layer in widths 'layer1\.0\.conv3'\. Did you mean layer1",
        ),
        ({"widths": {"conv1": 4, "layer1.2.conv2": 5}}, r"conv1 has 4 and layer1\.2\.conv2 has 5 outputs"),
        ({"widths": {"linear": 4}}, "linear has 4 outputs, and there are 10 classes"),
        ({"widths": {"layer2.0.conv2": 15}}, r"layer2\.0\.shortcut passes on 1 channels more"),
        ({"widths": {"layer2.0.shortcut.before": 17}}, r"before is 17, and layer2\.0\.shortcut has 16 new"),
        ({"widths": {"layer2.0.shortcut.before": -1}}, "before is -1; choose a whole number from 0"),
        ({"widths": (8,) * 5}, r"widths are 5 numbers; layer2\.0\.conv2 and others have none"),
        ({"widths": (*(4,) * 5, 8, 4, *(8,) * 3, 16, *(8,) * 4)}, "15 numbers, and the network takes 14"),
        ({"scale": 0}, "scale 0: choose a share"),
        ({"scale": float("nan")}, "scale nan"),
        ({"scale": True}, "scale True"),
        ({"scale": "1/8"}, "scale '1/8'"),
    ],
)
def test_widths_that_make_no_network_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        zoo.build_weightless("resnet20", **arguments)
