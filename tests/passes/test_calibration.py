"""Calibration data: batches in any form, images sorted by class, few classes."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from pithnet.errors import DataError
from pithnet.passes import quantize
from pithnet.passes.calibration import Order, batches_of, first_sample, run_through

from .networks import net

CLASSES, COUNT = 10, 1000
LABELS = torch.arange(COUNT) % CLASSES
CPU = torch.device("cpu")


class Reader(nn.Module):
    """Reads the class off the first pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, 0, 0, :1] - torch.arange(CLASSES)).abs()


def images(labels: Tensor) -> Tensor:
    return labels.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2) + 0.0


def shuffled(seed: int = 0) -> Tensor:
    return LABELS[torch.randperm(COUNT, generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("batch", [20, 100, 250])
def test_sorted_images_are_warned_about(with_labels: bool, batch: int) -> None:
    ordered = LABELS.sort().values
    x, y = images(ordered if not with_labels else shuffled()).split(batch), ordered.split(batch)
    loader = list(zip(x, y, strict=True)) if with_labels else list(x)
    with pytest.warns(UserWarning, match=r"1000 calibration images are sorted by class; shuffle them"):
        assert run_through(Reader(), loader) == COUNT


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("batch", [1, 10, 100, 250, 1000])
def test_shuffled_images_are_not(with_labels: bool, batch: int) -> None:
    for seed in range(5):
        y = shuffled(seed)
        x = images(y)
        loader = list(zip(x.split(batch), y.split(batch), strict=True)) if with_labels else x
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert run_through(Reader(), loader) == COUNT


def test_half_sorted_images_are_warned_about_too() -> None:
    pairs = torch.cat([LABELS[c == LABELS // 2][torch.randperm(200)] for c in range(5)])
    with pytest.warns(UserWarning, match="sorted by class"):
        run_through(Reader(), list(images(pairs).split(50)))


def test_images_of_one_class_are_warned_about() -> None:
    y = torch.full((200,), 3)
    with pytest.warns(UserWarning, match="show hardly more than 1 of 10 classes"):
        run_through(Reader(), [(images(y), y)])
    # Answers may all be one class because the model knows no better.
    run_through(Reader(), images(y))


def test_outputs_that_are_no_classes_are_not_judged() -> None:
    order = Order()
    for _ in range(5):
        order.add(torch.randn(100, 3, 8), None)
        order.add(torch.randn(100, 1), None)
    order.warn()
    assert order.images == 0


def test_the_pass_warns_and_goes_on() -> None:
    model = net().eval()
    x = torch.randn(300, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loader = [(part, torch.full((100,), c)) for c, part in enumerate(x.split(100))]
    with pytest.warns(UserWarning, match="sorted by class"):
        quantize(model, activations=8, calibrate=loader, bits=8, fit="range")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model(x).shape == (300, 5)


def test_batches_come_in_many_forms_and_others_are_refused() -> None:
    x = torch.randn(250, 1, 2, 2)
    model = net()
    assert [len(part) for part, _ in batches_of(model, x)] == [100, 100, 50]
    cut = [inputs for inputs, _ in batches_of(model, {"x": x, "scale": 2.0, "y": torch.zeros(250)})]
    assert [(len(inputs["x"]), inputs["scale"]) for inputs in cut] == [(100, 2.0), (100, 2.0), (50, 2.0)]
    assert "y" not in cut[0], "labels are not the model's arguments"
    for loader in ([x], [(x,)], [(x, torch.zeros(250))], [(x, None)]):
        assert torch.equal(next(batches_of(model, loader))[0], x)
    halves = next(batches_of(net().half(), [{"a": x, "ids": torch.arange(250)}]))[0]
    assert (halves["a"].dtype, halves["ids"].dtype) == (torch.float16, torch.int64)
    first = first_sample(model, [({"a": x, "table": torch.zeros(3, 2), "scale": 2.0},)])
    assert torch.equal(first["a"], x[:1])
    assert (first["table"].shape, first["scale"]) == ((3, 2), 2.0)
    with pytest.raises(DataError, match="no calibration images"):
        next(batches_of(model, None))
