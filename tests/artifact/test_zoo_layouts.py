"""docs/zoo-layouts.md is a part of the format: what a file without a layout holds."""

from __future__ import annotations

import hashlib

import pytest

from artifact import zoo_layouts
from artifact.frozen import LAYOUTS, changed
from pithnet import zoo
from pithnet.artifact.layout import layout_of
from pithnet.artifact.skeleton import skeleton

TOLD = zoo_layouts.read()


def _layout(name: str, **arguments: int) -> zoo_layouts.Layout:
    entries = layout_of(skeleton(name, arguments).state_dict())
    return [(e.name, str(e.dtype).removeprefix("torch."), e.shape) for e in entries]


@pytest.mark.parametrize("name", sorted(zoo.ARCHITECTURES))
def test_the_page_tells_the_layout_of_every_architecture(name: str) -> None:
    assert TOLD[name] == _layout(name)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_layouts_are_frozen(name: str) -> None:
    found = hashlib.sha256(repr(_layout(name)).encode()).hexdigest()[:16]
    assert found == LAYOUTS[name], changed(f"the layout of {name}")


def test_every_architecture_is_frozen_and_told() -> None:
    assert set(LAYOUTS) == set(TOLD) == set(zoo.ARCHITECTURES)


@pytest.mark.parametrize(
    "name", ["digits-cnn", "resnet18", "mobilenetv2", "vgg16", "vgg19", "vgg16-imagenet"]
)
def test_half_the_width_is_half_the_channels_and_classes_are_the_last_rows(name: str) -> None:
    usual = {"digits-cnn": 32, "mobilenetv2": 32}.get(name, 64)
    half = _layout(name, width=usual // 2, classes=7)
    assert [n for n, _, _ in half] == [n for n, _, _ in TOLD[name]]
    fixed = {1, 3, 4096}  # channels of images and of one filter, and hidden units
    for (key, _, shape), (_, _, told) in zip(half[:-2], TOLD[name][:-2], strict=True):
        kept = 2 if len(told) == 4 else len(told)
        assert shape[kept:] == told[kept:], key
        assert all(
            s == t // 2 or (s == t and t in fixed) for s, t in zip(shape[:kept], told[:kept], strict=True)
        ), key
    assert (half[-2][2][0], half[-1][2]) == (7, (7,))
