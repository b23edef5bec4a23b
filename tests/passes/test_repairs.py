"""Repairs without labels: BN statistics, biases, equalisation, reconstruction; each does what it says."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.passes import (
    correct_biases,
    equalize,
    match_norms,
    prune,
    quantize,
    reconstruct,
    reestimate_norms,
)
from pithnet.surgery import (
    Mask,
    fake_quantizer,
    fold_into_layers_,
    parametrization,
    weighted_layers,
)
from pithnet.tensor.quantizers import Levels, get_quantizer
from pithnet.tensor.second_order import round_by_hessian

# Neighbouring pixels are alike, as in pictures: errors of one weight can be made good by its neighbours.
NOISE = torch.randn(300, 3, 10, 10, generator=torch.Generator().manual_seed(0))
IMAGES = nn.functional.avg_pool2d(NOISE, 3, 1) * 2 + 0.5
FRESH, SEEN = IMAGES[200:], IMAGES[:200]


def net(seed: int = 0) -> nn.Module:
    """Three convolutions with BN and a head, with statistics of the images."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 6),
    )
    for _ in range(30):
        model(IMAGES)
    return model.eval().requires_grad_(False)


def error(model: nn.Module, reference: nn.Module) -> float:
    return float((model(FRESH) - reference(FRESH)).square().mean())


def rounded(bits: int = 3, **options: object) -> nn.Module:
    model = net()
    quantize(model, bits, **options)  # type: ignore[arg-type]
    return model


def test_matched_norms_undo_much_of_a_coarse_rounding() -> None:
    reference, model = net(), rounded(2, quantizer="dynamic")
    before = error(model, reference)
    assert match_norms(model, reference, SEEN) == 3
    assert error(model, reference) < 0.7 * before


def test_matched_norms_leave_an_unchanged_model_as_it_is() -> None:
    reference, model = net(), net()
    match_norms(model, reference, SEEN)
    for key, value in model.state_dict().items():
        assert torch.allclose(value, reference.state_dict()[key], rtol=1e-5, atol=1e-6)


def test_matched_norms_follow_a_rescaled_weight_exactly() -> None:
    reference, model = net(), net()
    model[0].weight *= 3
    match_norms(model, reference, SEEN)
    assert torch.allclose(model(FRESH), reference(FRESH), atol=0.05)
    assert error(model, reference) < 1e-3


def test_reestimated_norms_are_those_of_the_images() -> None:
    model = net()
    inputs = model[0](SEEN)
    assert reestimate_norms(model, SEEN) == 3
    assert torch.allclose(model[1].running_mean, inputs.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(model[1].running_var, inputs.var((0, 2, 3)), rtol=0.05)
    assert model[1].momentum == 0.1
    assert not model[1].training


def test_corrected_biases_have_the_references_means() -> None:
    reference, model = net(), net()
    quantize(model, 3, activations=8, calibrate=SEEN)
    before = error(model, reference)
    assert correct_biases(model, reference, SEEN) == 4
    assert error(model, reference) < before
    with torch.no_grad():
        difference = (model(SEEN) - reference(SEEN)).mean(0).abs().max()
    assert float(difference) < 0.05


def test_equalisation_changes_ranges_and_not_answers() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 5))
    with torch.no_grad():
        model[0].weight *= torch.logspace(-2, 1, 8).view(-1, 1, 1, 1)
    before = model(FRESH)
    assert equalize(model) == 1
    assert torch.allclose(model(FRESH), before, rtol=1e-3, atol=1e-4)
    ranges = (
        model[0].weight.flatten(1).abs().amax(1),
        model[2].weight.transpose(0, 1).flatten(1).abs().amax(1),
    )
    assert torch.allclose(*ranges, rtol=0.01)


def test_equalisation_helps_a_step_per_tensor() -> None:
    reference = net()
    fold_into_layers_(reference)
    reference[3].weight *= torch.logspace(-2, 0, 12).view(-1, 1, 1, 1)
    reference[3].bias *= torch.logspace(-2, 0, 12)
    plain, equal = copy.deepcopy(reference), copy.deepcopy(reference)
    equalize(equal)
    for model in (plain, equal):
        quantize(model, None, overrides={"3": 5, "6": 5}, granularity="tensor")
    assert error(equal, reference) < 0.5 * error(plain, reference)


@pytest.mark.parametrize("quantizer", ["linear", "dynamic", "lsq", "apot"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_gptq_computes_closer_than_nearest_levels(quantizer: str, granularity: str) -> None:
    reference = net()
    model = rounded(3, quantizer=quantizer, granularity=granularity, group_size=9)
    before = error(model, reference)
    assert reconstruct(model, SEEN) == 4
    assert error(model, reference) < 0.85 * before
    for _, layer in weighted_layers(model):
        part = fake_quantizer(layer)
        assert part is not None
        assert max(r[r != 0].unique().numel() for r in part.rows(layer.weight)) <= 8


def test_adaround_computes_closer_than_nearest_levels() -> None:
    reference, model = net(), rounded(3)
    before = error(model, reference)
    levels = [layer.weight.clone() for _, layer in weighted_layers(model)]
    reconstruct(model, SEEN, "adaround")
    assert error(model, reference) < 0.7 * before
    for (_, layer), old in zip(weighted_layers(model), levels, strict=True):
        part = fake_quantizer(layer)
        assert part is not None
        assert part.scale is not None
        steps = part.rows(layer.weight - old) / part.scale[:, None]
        assert float(steps.abs().max()) <= 1.01, "up or down, no further"


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_reconstruction_keeps_zeros(method: str) -> None:
    model = net()
    prune(model, 0.6)
    quantize(model, 4)
    reconstruct(model, SEEN[:50], method)
    pruned = 0
    for _, layer in weighted_layers(model):
        mask = parametrization(layer, Mask)
        assert isinstance(mask, Mask)
        assert not layer.weight[~mask.mask].any()
        pruned += int((~mask.mask).sum())
    assert pruned == round(0.6 * sum(layer.weight.numel() for _, layer in weighted_layers(model)))


def test_second_order_rounding_beats_the_nearest_on_correlated_inputs() -> None:
    g = torch.Generator().manual_seed(0)
    weight, mixing = torch.randn(8, 40, generator=g), torch.randn(40, 6, generator=g)
    x = mixing @ torch.randn(6, 500, generator=g) + 0.1 * torch.randn(40, 500, generator=g)
    quantizer = get_quantizer("linear", 3)
    rows = quantizer.fit(weight)
    levels = Levels(*(part[:, None].expand_as(weight) for part in rows))
    found = round_by_hessian(weight, x @ x.t() / 500, quantizer, levels)
    assert torch.equal(quantizer.nearest(found, rows), found)
    plain = quantizer.nearest(weight, rows)
    assert float(((found - weight) @ x).square().mean()) < 0.25 * float(
        ((plain - weight) @ x).square().mean()
    )
    # Inputs that know nothing of each other leave nothing to make good.
    alone = round_by_hessian(weight, torch.eye(40), quantizer, levels)
    assert torch.allclose(alone, plain, atol=1e-6)


class Deaf(nn.Module):
    """Has a layer that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


def transposed() -> nn.Module:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3))
    quantize(model, 4)
    return model


def deaf() -> nn.Module:
    model = Deaf()
    quantize(model, 4)
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reconstruct(net(), SEEN), ModelError, "no layer is quantized; run quantize"),
        (lambda: reconstruct(rounded(), SEEN, "gtpq"), RecipeError, r"'gtpq'. Did you mean gptq"),
        (lambda: reconstruct(rounded(), None), DataError, "no calibration images"),
        (
            lambda: reconstruct(transposed(), SEEN),
            ModelError,
            r"0 \(ConvTranspose2d\) cannot be reconstructed",
        ),
        (lambda: reconstruct(deaf(), torch.randn(5, 4)), ModelError, "never calls its"),
        (lambda: match_norms(net(), nn.Sequential(nn.ReLU()), SEEN), ModelError, "differ in their BatchNorm"),
        (lambda: match_norms(net(), net(), []), DataError, "calibration data is empty"),
        (lambda: reestimate_norms(net(), []), DataError, "calibration data is empty"),
        (
            lambda: correct_biases(nn.Sequential(nn.Conv2d(3, 3, 1, bias=False)), net(), SEEN),
            ModelError,
            "no layer has a bias",
        ),
        (lambda: equalize(net()), ModelError, "fold BatchNorm first"),
        (lambda: equalize(folded_and_quantized()), ModelError, r"0 is quantized or shared already"),
    ],
)
def test_what_cannot_be_repaired_is_said(call: Callable[[], object], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def folded_and_quantized() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    quantize(model, 4)
    return model
