"""Repairs without labels: BN statistics, biases, equalisation, reconstruction; each does what it says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from operator import methodcaller

import pytest
import torch
from comparisons import Comparison, assert_below, networks, repairs
from comparisons.networks import images, plain_net, residual_net
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.passes import (
    correct_biases,
    equalize,
    match_norms,
    prune,
    quantize,
    quantize_without_labels,
    reconstruct,
    reconstruct_blocks,
    reestimate_norms,
    share,
)
from pithnet.policies import divergence
from pithnet.surgery import (
    Mask,
    fake_quantizer,
    finalize,
    parametrization,
    weighted_layers,
)
from pithnet.tensor.quantizers import Levels, get_quantizer
from pithnet.tensor.second_order import round_by_hessian

SEEN, FRESH = images()


def net() -> nn.Module:
    return plain_net()


def error(model: nn.Module, reference: nn.Module) -> float:
    return networks.error(model, reference, FRESH)


def rounded(bits: int = 3, **options: object) -> nn.Module:
    model = net()
    quantize(model, bits, **{"fit": "range", **options})  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize(
    ("what", "seeds"),
    [
        (repairs.matched_norms, 1),
        (repairs.corrected_biases, 1),
        (repairs.equalized_ranges, 3),
        (repairs.learned_rounding, 2),
        (repairs.learned_blocks, 2),
        (repairs.without_labels, 2),
    ],
)
def test_repairs_leave_less_of_what_rounding_did(what: Comparison, seeds: int) -> None:
    assert_below(what, seeds)


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


def test_matching_norms_twice_is_matching_them_once() -> None:
    reference, model = net(), rounded(2, quantizer="dynamic")
    match_norms(model, reference, SEEN)
    once = copy.deepcopy(model.state_dict())
    match_norms(model, reference, SEEN)
    for key, value in model.state_dict().items():
        assert torch.equal(value, once[key]), key


def test_reestimated_norms_are_those_of_the_images() -> None:
    model = net()
    inputs = model[0](SEEN)
    assert reestimate_norms(model, SEEN) == 3
    assert torch.allclose(model[1].running_mean, inputs.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(model[1].running_var, inputs.var((0, 2, 3)), rtol=0.05)
    assert model[1].momentum == 0.1
    assert not model[1].training


def test_a_dead_channel_stays_constant_and_is_not_blown_up() -> None:
    reference, model = net(), net()
    model[0].weight[2] = 0
    match_norms(model, reference, SEEN)
    assert torch.equal(model[1].running_var[2], reference[1].running_var[2])
    assert torch.allclose(model[1].running_var, reference[1].running_var)
    mean = reference[1](reference[0](FRESH)).mean((0, 2, 3))
    assert torch.allclose(model[1](model[0](FRESH)).mean((0, 2, 3)), mean, atol=0.2)
    unpruned = net()
    match_norms(unpruned, model, SEEN)
    assert torch.equal(unpruned[1].running_var[2], model[1].running_var[2]), "nor where the reference's is"


class Twice(nn.Module):
    """Calls a layer and its BN two times, on inputs of other statistics."""

    def __init__(self, times: int = 2) -> None:
        super().__init__()
        self.conv, self.norm, self.times = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.norm(self.conv(x * 3 + 1)).relu()
        return x.mean((2, 3))


@pytest.mark.parametrize("repair", [match_norms, correct_biases])
def test_a_layer_called_twice_is_compared_call_by_call(
    repair: Callable[[nn.Module, nn.Module, Tensor], int],
) -> None:
    torch.manual_seed(0)
    reference = Twice().eval().requires_grad_(False)
    model = copy.deepcopy(reference)
    repair(model, reference, SEEN)
    for key, value in model.state_dict().items():
        assert torch.equal(value, reference.state_dict()[key]), key
    repair(reference, reference, SEEN)
    for key, value in model.state_dict().items():
        assert torch.equal(value, reference.state_dict()[key]), f"{key}, beside itself"
    quantize(model, 2, quantizer="dynamic", fit="range")
    before = error(model, reference)
    repair(model, reference, SEEN)
    assert error(model, reference) < before
    with pytest.raises(ModelError, match=r"calls (norm|conv) more often than the reference"):
        repair(Twice(3), reference, SEEN)


def test_norms_are_as_before_where_reestimating_fails() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    for calibrate, fault in (([], DataError), ([SEEN, SEEN[:, :2]], RuntimeError)):
        with pytest.raises(fault):
            reestimate_norms(model, calibrate)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key]), key
        assert model[1].momentum == 0.1
        assert not model[1].training


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


class Chain(nn.Module):
    """Two layers with a ReLU between, and a third that may hold one of their tensors."""

    def __init__(self, relu: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(6, 6) for _ in range(3))
        self.relu = relu
        with torch.no_grad():
            self.first.weight *= torch.logspace(-2, 1, 6)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.third(self.second(self.relu(self.first(x))).sigmoid())
        return out


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("tensor", ["weight", "bias"])
def test_equalisation_leaves_layers_that_share_a_tensor(layer: str, tensor: str) -> None:
    model, x = Chain(), FRESH[:, 0, 0, :6]
    setattr(model.third, tensor, getattr(getattr(model, layer), tensor))
    before = model(x)
    with pytest.raises(ModelError, match="no two layers"):
        equalize(model)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("relu", [torch.relu, torch.relu_, methodcaller("relu"), methodcaller("relu_")])
def test_equalisation_knows_every_way_to_write_a_relu(relu: Callable[[Tensor], Tensor]) -> None:
    model, x = Chain(relu), FRESH[:, 0, 0, :6]
    before = model(x)
    assert equalize(model) == 1
    assert torch.allclose(model(x), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("quantizer", ["linear", "dynamic", "lsq", "apot"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_gptq_stays_on_the_levels(quantizer: str, granularity: str) -> None:
    model = rounded(3, quantizer=quantizer, granularity=granularity, group_size=9)
    assert reconstruct(model, SEEN) == 4
    for _, layer in weighted_layers(model):
        part = fake_quantizer(layer)
        assert part is not None
        assert max(r[r != 0].unique().numel() for r in part.rows(layer.weight)) <= 8


def test_gptq_leaves_less_of_the_error_than_nearest_levels() -> None:
    assert_below(repairs.second_order_rounding)


def test_adaround_rounds_up_or_down_and_no_further() -> None:
    model = rounded(3)
    levels = [layer.weight.clone() for _, layer in weighted_layers(model)]
    reconstruct(model, SEEN, "adaround", steps=100)
    for (_, layer), old in zip(weighted_layers(model), levels, strict=True):
        part = fake_quantizer(layer)
        assert part is not None
        assert part.scale is not None
        steps = part.rows(layer.weight - old) / part.scale[:, None]
        assert float(steps.abs().max()) <= 1.01
        assert float(steps.abs().max()) > 0.5, "some went the other way"


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_reconstruction_keeps_zeros(method: str) -> None:
    model = net()
    prune(model, 0.6)
    quantize(model, 4, fit="range")
    reconstruct(model, SEEN[:50], method)
    pruned = 0
    for _, layer in weighted_layers(model):
        mask = parametrization(layer, Mask)
        assert isinstance(mask, Mask)
        assert not layer.weight[~mask.mask].any()
        pruned += int((~mask.mask).sum())
    assert pruned == round(0.6 * sum(layer.weight.numel() for _, layer in weighted_layers(model)))


@pytest.mark.parametrize("quantizer", ["linear", "dynamic", "lsq", "apot"])
def test_blocks_learn_levels_as_a_file_keeps_them(quantizer: str) -> None:
    reference, model = residual_net(), residual_net()
    quantize(model, 2, quantizer=quantizer, fit="mse")
    match_norms(model, reference, SEEN)
    frozen = [p.requires_grad for p in model.parameters()]
    assert reconstruct_blocks(model, reference, SEEN, steps=20) == 3, "stem, block, head"
    assert [p.requires_grad for p in model.parameters()] == frozen
    assert most_levels(model) <= 4
    final = finalize(model)
    assert most_levels(final) <= 4
    assert torch.allclose(final(FRESH), model(FRESH), atol=2e-3), "learned as a file keeps it"


def most_levels(model: nn.Module) -> int:
    """The most distinct values in a channel."""
    return max(c.unique().numel() for _, layer in weighted_layers(model) for c in layer.weight.flatten(1))


def test_blocks_keep_zeros_and_repeat_with_the_seed() -> None:
    reference = residual_net()
    prune(reference, 0.5)
    zeros = {name: layer.weight == 0 for name, layer in weighted_layers(reference)}
    found = []
    for seed in (1, 1, 2):
        model = copy.deepcopy(reference)
        quantize(model, 3, quantizer="dynamic", fit="mse")
        state = torch.get_rng_state()
        reconstruct_blocks(model, reference, SEEN, steps=20, seed=seed)
        assert torch.equal(torch.get_rng_state(), state), "global random numbers are left alone"
        for name, layer in weighted_layers(model):
            assert not layer.weight[zeros[name]].any()
        found.append(model(FRESH))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_without_labels_every_layer_has_its_bits() -> None:
    reference, model = residual_net(), residual_net()
    record = quantize_without_labels(model, 2, SEEN, steps=10)
    assert [(row.name, row.bits) for row in record.layers] == [
        ("0", 2),
        ("3.first", 2),
        ("3.second", 2),
        ("6", 2),
    ]
    assert most_levels(model) == 4
    assert divergence(reference, reference, FRESH) == 0


def test_without_labels_leaves_what_is_skipped() -> None:
    reference, model = residual_net(), residual_net()
    record = quantize_without_labels(model, 2, SEEN, skip=["6"], overrides={"3": 3}, steps=10)
    assert [(row.name, row.bits) for row in record.layers] == [("0", 2), ("3.first", 3), ("3.second", 3)]
    assert torch.equal(model[6].weight, reference[6].weight)
    assert max(c.unique().numel() for c in model[3].first.weight.flatten(1)) > 4


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
    quantize(model, 4, fit="range")
    return model


def shared() -> nn.Module:
    model = net()
    share(model, 3, skip=["3", "6", "10"])
    quantize(model, 4, fit="range")
    return model


def deaf() -> nn.Module:
    model = Deaf()
    quantize(model, 4, fit="range")
    return model


def test_nothing_is_rounded_where_a_later_layer_cannot_be() -> None:
    for model, x in ((shared(), SEEN), (deaf(), torch.randn(5, 4))):
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ModelError):
            reconstruct(model, x)
        assert model.state_dict().keys() == before.keys()
        for key, value in before.items():
            assert torch.equal(model.state_dict()[key], value), key


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
        (lambda: reconstruct(deaf(), torch.randn(5, 4)), ModelError, r"never calls unused \(Linear\)"),
        (lambda: reconstruct(shared(), SEEN), ModelError, "0 is shared and cannot be reconstructed"),
        (lambda: match_norms(net(), nn.Sequential(nn.ReLU()), SEEN), ModelError, "differ in their BatchNorm"),
        (lambda: match_norms(net(), net(), []), DataError, "calibration data is empty"),
        (lambda: reestimate_norms(net(), []), DataError, "calibration data is empty"),
        (
            lambda: correct_biases(nn.Sequential(nn.Conv2d(3, 3, 1, bias=False)), net(), SEEN),
            ModelError,
            "no layer has a bias",
        ),
        (
            lambda: reconstruct_blocks(net(), net(), SEEN),
            ModelError,
            "no layer is quantized; run quantize",
        ),
        (
            lambda: reconstruct_blocks(rounded(), nn.Sequential(nn.ReLU()), SEEN),
            ModelError,
            "the reference has no part 3",
        ),
        (lambda: divergence(net(), net(), SEEN, "mea"), RecipeError, "unknown measure 'mea'"),
        (lambda: equalize(net()), ModelError, "fold BatchNorm first"),
        (lambda: equalize(folded_and_quantized()), ModelError, r"0 is quantized or shared already"),
    ],
)
def test_what_cannot_be_repaired_is_said(call: Callable[[], object], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def folded_and_quantized() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    quantize(model, 4, fit="range")
    return model
