"""The quantize pass: what it does to layers and activations, its records, and what it refuses untouched."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pithnet import zoo
from pithnet.errors import DataError, ModelError, PithError, RecipeError
from pithnet.passes import LevelTraining, average_bits, prune, quantize, share
from pithnet.surgery import (
    LearnedClip,
    activation_quantizers,
    chain,
    fake_quantizer,
    weighted_layers,
)

from .networks import SIZES, TOTAL, net

IMAGES = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_record_counts_zeros_levels_and_bits() -> None:
    model = net()
    prune(model, 0.5)
    zeros = {n: int((model[int(n)].weight == 0).sum()) for n in SIZES}
    record = quantize(model, 3, overrides={"6": 2, "0": None}, fit="range")
    assert record.what == "quantize linear 3 bits"
    assert [(r.name, r.size, r.bits) for r in record.layers] == [
        ("0", 27, None),
        ("3", 216, 3),
        ("6", 360, 2),
    ]
    for row in record.layers:
        weight = model[int(row.name)].weight
        assert row.zeros == int((weight == 0).sum()) >= zeros[row.name]
        if row.bits:
            part = fake_quantizer(model[int(row.name)])
            assert part is not None
            most = max(r[r != 0].unique().numel() for r in part.rows(weight.detach()))
            assert most <= row.levels <= 2**row.bits  # type: ignore[operator]
        else:
            assert row.levels is None


def test_overrides_go_by_name_part_and_pattern_and_the_last_counts() -> None:
    model = zoo.build("resnet20")
    overrides = {"layer1": 2, "*.conv2": 3, "layer3.2": 4, "conv1": None, "linear": 0}
    record = quantize(model, 6, overrides=overrides, fit="range")
    bits = {row.name: row.bits for row in record.layers}
    assert bits["conv1"] is None
    assert bits["linear"] == 0
    assert not model.linear.weight.any()  # type: ignore[union-attr,operator]
    assert bits["layer1.0.conv1"] == 2
    assert bits["layer1.0.conv2"] == bits["layer3.0.conv2"] == 3
    assert bits["layer3.2.conv2"] == bits["layer3.2.conv1"] == 4
    assert bits["layer2.1.conv1"] == 6


@pytest.mark.parametrize(
    ("stages", "average"), [((4, 4, 2), 2.5988), ((4, 2, 4), 3.7328), ((2, 4, 4), 4.0087)]
)
def test_average_bits_are_the_sources(stages: tuple[int, ...], average: float) -> None:
    model = zoo.build("resnet20b")
    overrides = {f"layer{i}": bits for i, bits in enumerate(stages, 1)}
    quantize(model, None, overrides=overrides, quantizer="dynamic", granularity="tensor", fit="range")
    assert average_bits(model) == pytest.approx(average, abs=5e-5)


def test_average_bits_count_float_layers_with_32() -> None:
    model = net()
    assert average_bits(model) == 32
    quantize(model, 4, skip=("6",), fit="range")
    assert average_bits(model) == pytest.approx((243 * 4 + 360 * 32) / TOTAL)


def test_activations_are_unsigned_and_batchnorm_is_gone() -> None:
    model = net().eval()
    expected = model(IMAGES)
    record = quantize(model, 8, activations=8, calibrate=IMAGES, fit="range")
    assert record.what == "quantize linear 8 bits, activations 8"
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert list(activation_quantizers(model)) == ["input_1", "_2", "_3", "_4"]
    assert {(q.quant_min, q.quant_max) for q in activation_quantizers(model).values()} == {(0, 255)}
    error = (model(IMAGES) - expected).detach().abs().max()
    assert 0 < float(error) < 0.05 * float(expected.detach().abs().max())
    with torch.no_grad():
        assert not model[6].weight.requires_grad or model(IMAGES).shape == (120, 5)


def test_quantized_activations_train_in_a_plain_loop() -> None:
    model = net()
    prune(model, 0.5)
    quantize(model, 4, activations=4, calibrate=IMAGES, clip="learned", fit="range")
    clips = [q for q in activation_quantizers(model).values() if isinstance(q, LearnedClip)]
    assert clips
    before = [clip.alpha.detach().clone() for clip in clips]
    zeros = {n: layer.weight == 0 for n, layer in weighted_layers(model)}
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(IMAGES).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert any(not torch.equal(clip.alpha, old) for clip, old in zip(clips, before, strict=True))
    for n, layer in weighted_layers(model):
        masked = chain(layer)[0].mask
        assert not layer.weight[~masked].any()  # type: ignore[operator]
        assert bool((zeros[n] | masked).all())  # type: ignore[operator]


def test_a_loader_with_labels_calibrates_as_its_images_do() -> None:
    labels = torch.randint(0, 5, (120,), generator=torch.Generator().manual_seed(1))
    models = [net().eval(), net().eval()]
    quantize(models[0], activations=8, calibrate=IMAGES, observer="min-max", bits=8, fit="range")
    loader = list(zip(IMAGES.split(30), labels.split(30), strict=True))
    quantize(models[1], activations=8, calibrate=loader, observer="min-max", bits=8, fit="range")
    assert torch.equal(models[0](IMAGES), models[1](IMAGES))


def test_a_generator_calibrates_with_all_its_batches() -> None:
    models = [net().eval(), net().eval()]
    models[1].load_state_dict(models[0].state_dict())
    quantize(models[0], activations=8, calibrate=[IMAGES[:4], 3 * IMAGES[4:]], bits=8, fit="range")
    quantize(
        models[1], activations=8, calibrate=(x for x in [IMAGES[:4], 3 * IMAGES[4:]]), bits=8, fit="range"
    )
    assert torch.equal(models[0](IMAGES), models[1](IMAGES))


def test_weights_shared_before_are_rounded_on_top() -> None:
    model = net()
    share(model, 3)
    quantize(model, 8, fit="range")
    part = fake_quantizer(model[6])
    assert part is not None
    assert len(chain(model[6])) == 2
    assert model[6].weight.unique().numel() <= 8 * 5


REFUSED: dict[str, tuple[dict[str, Any], type[PithError], str]] = {
    "many bits": ({"bits": 9}, RecipeError, r"bits must be from 1 to 8, .*not 9"),
    "negative bits": ({"bits": -1}, RecipeError, r"not -1"),
    "many bits in one layer": ({"overrides": {"0": 16}}, RecipeError, r"not 16"),
    "quantizer": ({"quantizer": "lqs"}, RecipeError, r"'lqs'. Did you mean lsq"),
    "granularity": ({"granularity": "layer"}, RecipeError, r"unknown granularity 'layer'"),
    "fit": ({"fit": "max"}, RecipeError, r"unknown fit 'max'"),
    "asymmetric powers": ({"quantizer": "apot", "symmetric": False}, RecipeError, r"symmetric levels only"),
    "pattern": ({"overrides": {"conv": 2}}, RecipeError, r"overrides: 'conv' matches no layer"),
    "skipped pattern": (
        {"overrides": {"0": 2}, "skip": ("0",)},
        RecipeError,
        r"'0' matches no layer that is quantized",
    ),
    "skip": ({"skip": ("conv",)}, RecipeError, r"skip: 'conv' matches no layer"),
    "no images": ({"activations": 8}, DataError, r"no calibration images; give calibrate="),
    "empty data": ({"activations": 8, "calibrate": []}, DataError, r"calibration data is empty"),
    "empty tensor": ({"activations": 8, "calibrate": IMAGES[:0]}, DataError, r"calibration data is empty"),
    "wide activations": (
        {"activations": 16, "calibrate": IMAGES},
        RecipeError,
        r"activations take from 1 to 8 bits",
    ),
    "observer": (
        {"activations": 8, "calibrate": IMAGES, "observer": "kl"},
        RecipeError,
        r"unknown observer 'kl'",
    ),
    "clip": ({"activations": 8, "calibrate": IMAGES, "clip": "pact"}, RecipeError, r"unknown clip 'pact'"),
    "constant images": (
        {"activations": 8, "calibrate": torch.zeros(9, 1, 8, 8)},
        ModelError,
        r"activations at input_1 are 0 everywhere",
    ),
    "broken images": (
        {"activations": 8, "calibrate": IMAGES / 0},
        ModelError,
        r"at input_1: .* activations are NaN or inf",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_argument_is_refused_and_the_model_untouched(case: str) -> None:
    arguments, error, message = REFUSED[case]
    model = net().eval()
    before, expected = dict(model.state_dict()), model(IMAGES)
    with pytest.raises(error, match=message), warnings.catch_warnings():
        quantize(model, **{"bits": 8, "fit": "range", **arguments})
    assert model.state_dict().keys() == before.keys()
    assert torch.equal(model(IMAGES), expected)


def test_layers_that_cannot_be_quantized_are_named() -> None:
    with pytest.raises(ModelError, match=r"0 \(Embedding\), which rescales .*; add '0' to skip"):
        quantize(nn.Sequential(nn.Embedding(4, 4, max_norm=1.0), nn.Linear(4, 2)), bits=8, fit="range")
    model = net()
    LevelTraining(model, 3)
    with pytest.raises(ModelError, match=r"0.weight is training its levels; run freeze_levels"):
        quantize(model, bits=8, fit="range")
    model = net()
    quantize(model, activations=8, calibrate=IMAGES, bits=8, fit="range")
    with pytest.raises(ModelError, match="quantized already"):
        quantize(model, activations=8, calibrate=IMAGES, bits=8, fit="range")


@pytest.mark.parametrize("clip", ["observed", "learned"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_models_of_other_dtypes_are_quantized_and_train(dtype: torch.dtype, clip: str) -> None:
    model, images = net().eval().to(dtype), IMAGES.to(dtype)
    expected = model(images).detach()
    quantize(model, activations=8, clip=clip, calibrate=images, bits=8, fit="range")
    answer = model(images)
    assert answer.dtype == dtype
    assert 0 < float((answer - expected).detach().abs().max()) < 0.1 * float(expected.abs().max())
    answer.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in model.parameters())


@pytest.mark.parametrize("clip", ["observed", "learned"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_quantized_model_may_change_its_dtype(dtype: torch.dtype, clip: str) -> None:
    model = net().eval()
    quantize(model, activations=8, fit="mse", clip=clip, calibrate=IMAGES, bits=8)
    expected = model(IMAGES).detach()
    answer = model.to(dtype)(IMAGES.to(dtype))
    assert answer.dtype == dtype
    assert float((answer.float() - expected).detach().abs().max()) < 0.1 * float(expected.abs().max())


def test_a_network_of_mixed_dtypes_is_quantized_throughout() -> None:
    model = net()
    model[6].bfloat16()
    quantize(model, 4, fit="range")
    assert [layer.weight.dtype for _, layer in weighted_layers(model)] == [
        torch.float32,
        torch.float32,
        torch.bfloat16,
    ]
    assert all(fake_quantizer(layer) for _, layer in weighted_layers(model))


class Sequence(nn.Module):
    """A BN after a linear layer on (N, L, C): it normalises L, of as many steps as features."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.head = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.linear(x)))
        return out


def test_a_norm_over_steps_is_not_folded_into_features() -> None:
    model, x = Sequence(), IMAGES[:, 0]
    for _ in range(50):
        model(x * torch.arange(1, 9)[:, None])
    expected = model.eval()(x).detach()
    quantize(model, 8, activations=8, calibrate=x, fit="range")
    assert isinstance(model.norm, nn.BatchNorm1d)
    assert float((model(x) - expected).detach().abs().max()) < 0.05 * float(expected.abs().max())
