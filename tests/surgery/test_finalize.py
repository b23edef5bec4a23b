"""What ships: rounded, plain, folded, and the same every time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from pithnet import zoo
from pithnet.artifact import encode, load, save
from pithnet.errors import RecipeError
from pithnet.passes import LevelTraining, prune, share
from pithnet.surgery import Storage, finalize, fold_batchnorm_
from pithnet.surgery.weights.finalize import ROUNDINGS


def trained(name: str = "digits-cnn") -> nn.Module:
    """A small network whose BN has seen data."""
    torch.manual_seed(0)
    model = zoo.build(name, **({"width": 4} if name == "digits-cnn" else {}))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.01, 3)
    return model


def images(n: int = 16) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("eps", [1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1])
def test_a_folded_bn_divides_by_exactly_one(eps: float) -> None:
    assert float((torch.tensor(1 - eps, dtype=torch.float32) + eps).sqrt()) == 1.0
    bn = nn.BatchNorm2d(3, eps=eps).eval()
    nn.init.normal_(bn.weight)
    nn.init.normal_(bn.bias)
    bn.running_var.fill_(1 - eps)
    x = torch.randn(4, 3, 5, 5)
    plain = x * bn.weight.view(1, -1, 1, 1) + bn.bias.view(1, -1, 1, 1)
    # One rounding of a product and sum at most lies between the two.
    torch.testing.assert_close(bn(x), plain, rtol=0, atol=1e-6)


def test_folding_keeps_the_function_and_forgets_the_statistics() -> None:
    model = trained().eval()
    expected = model(images())
    fold_batchnorm_(model)
    torch.testing.assert_close(model(images()), expected, rtol=1e-5, atol=1e-5)
    for bn in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        assert not bn.running_mean.any()
        assert torch.equal(bn.running_var, torch.full_like(bn.running_var, 1 - bn.eps))


def test_folding_twice_changes_nothing_more() -> None:
    model = trained()
    fold_batchnorm_(model)
    once = copy.deepcopy(model.state_dict())
    fold_batchnorm_(model)
    assert all(torch.equal(v, once[k]) for k, v in model.state_dict().items())


def test_bn_without_statistics_or_scale_is_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.BatchNorm2d(2, track_running_stats=False))
    model[0].running_mean.fill_(3.0)
    fold_batchnorm_(model)
    assert model[0].running_mean.tolist() == [3.0, 3.0]


class Gain(nn.BatchNorm2d):
    """BN whose gain is 1 + weight."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        gain = 1 + self.weight
        return F.batch_norm(input, self.running_mean, self.running_var, gain, self.bias, False, 0.0, self.eps)


class Named(nn.BatchNorm2d):
    """torch's BN under another name."""


class Live(nn.Sequential):
    """Eval mode leaves its BN with the statistics of the batch."""

    def train(self, mode: bool = True) -> nn.Sequential:
        super().train(mode)
        self[0].training = True
        return self


def _norm(bn: nn.BatchNorm2d, mean: float = 0.5, variance: float = 2.0, gain: float = 1.0) -> nn.Module:
    bn.running_mean.fill_(mean)  # type: ignore[union-attr]
    bn.running_var.fill_(variance)  # type: ignore[union-attr]
    nn.init.uniform_(bn.weight, 0.5 * gain, 2 * gain)
    return nn.Sequential(bn)


def _watched() -> nn.Module:
    model = _norm(nn.BatchNorm2d(3))
    model[0].register_forward_pre_hook(lambda bn, inputs: (inputs[0] - bn.running_mean.view(-1, 1, 1),))
    return model


# A BN, and whether its statistics are folded.
NORMS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "torch's": (lambda: _norm(nn.BatchNorm2d(3)), True),
    "for many processes": (lambda: _norm(nn.SyncBatchNorm(3)), True),  # type: ignore[arg-type]
    "under another name": (lambda: _norm(Named(3)), True),
    "tiny variance": (lambda: _norm(nn.BatchNorm2d(3), 0.0, 1e-30), True),
    "huge variance": (lambda: _norm(nn.BatchNorm2d(3), variance=1e37), True),
    "gain of its own": (lambda: _norm(Gain(3)), False),
    "hook that reads the mean": (_watched, False),
    "statistics of the batch": (lambda: Live(*_norm(nn.BatchNorm2d(3))), False),
    "mean that rounding drowns in": (lambda: _norm(nn.BatchNorm2d(3), 1e6, 1e-6), False),
    "scale beyond float32": (lambda: _norm(nn.BatchNorm2d(3, eps=0.0), 0.0, 1e-44, 1e30), False),
    "eps that float32 cannot hold": (lambda: _norm(nn.BatchNorm2d(3, eps=1e9)), False),
}


@pytest.mark.parametrize("case", NORMS)
def test_statistics_are_folded_only_where_the_numbers_stay(case: str) -> None:
    torch.manual_seed(0)
    make, folds = NORMS[case]
    model = make().eval()
    bn, x = model[0], torch.randn(4, 3, 2, 2)  # type: ignore[index]
    mean, variance = bn.running_mean.clone(), bn.running_var.clone()
    x = x * variance.clamp(max=1e20).sqrt().view(-1, 1, 1) + mean.view(-1, 1, 1)
    expected = model(x).detach()
    bn.running_mean.copy_(mean)  # one that is always in training moves them
    bn.running_var.copy_(variance)
    final = finalize(model, Storage("float32", "float32", "float32"))
    assert torch.equal(final[0].running_var, variance) != folds
    if folds:
        torch.testing.assert_close(final(x), expected, rtol=1e-4, atol=1e-4)
    else:
        assert torch.equal(final(x).nan_to_num(), expected.nan_to_num())


def test_a_norm_that_is_not_folded_is_reloaded_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 3, 3), Gain(3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))

    model = make()
    for bn in (model[1], model[3]):
        bn.load_state_dict(_norm(nn.BatchNorm2d(3))[0].state_dict())
    final = finalize(model.eval())
    torch.testing.assert_close(final(images()), model(images()), rtol=2e-3, atol=2e-3)
    save(tmp_path / "model.pith", encode(final))
    loaded = load(tmp_path / "model.pith", make())
    assert torch.equal(loaded(images()), final(images()))
    assert loaded[1].running_mean.tolist() == [0.5, 0.5, 0.5]  # type: ignore[index,union-attr,operator]


@pytest.mark.parametrize("chain", ["plain", "mask", "shared", "levels"])
def test_finalize_is_plain_repeatable_and_leaves_the_model_alone(chain: str) -> None:
    model = trained().train()
    if chain != "plain":
        prune(model, 0.5)
    if chain == "shared":
        share(model, 3)
    if chain == "levels":
        LevelTraining(model, levels=4)
    before = copy.deepcopy(model.state_dict())
    first, second = finalize(model), finalize(model)
    assert torch.equal(first(images()), second(images()))
    again = finalize(first)
    assert torch.equal(again(images()), first(images()))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not first.training
    assert not any(parametrize.is_parametrized(m) for m in first.modules())
    if chain != "plain":
        assert int((first.conv2.weight == 0).sum()) > 100
        assert int((first.conv2.weight == 0).sum()) == int((model.conv2.weight == 0).sum())


def test_finalize_stays_close_to_the_model() -> None:
    model = trained().eval()
    prune(model, 0.5)
    exact = finalize(model, Storage("float32", "float32", "float32"))
    torch.testing.assert_close(exact(images()), model(images()), rtol=1e-5, atol=1e-5)
    unfolded = finalize(model, Storage("float32", "float32", "float32", fold=False))
    assert torch.equal(unfolded(images()), model(images()))


def test_each_part_is_rounded_as_the_storage_says() -> None:
    model = trained()
    share(model, 2, skip=("linear",))
    final = finalize(model, Storage(codebook="float16", norm="fixed8", other="float32"))
    assert torch.equal(final.linear.weight, model.linear.weight)
    assert torch.equal(final.conv1.weight, model.conv1.weight.detach().half().float())
    for bn in (final.bn1, final.bn2, final.bn3):
        assert torch.equal(ROUNDINGS["fixed8"](bn.weight.detach()), bn.weight)
        assert torch.equal(ROUNDINGS["fixed8"](bn.bias.detach()), bn.bias)


def test_a_codebook_on_the_model_itself_is_rounded_once() -> None:
    layer = nn.Linear(8, 8)
    share(layer, 2)
    expected = layer.weight.detach().half().float()
    final = finalize(layer, Storage(codebook="float16", other="fixed8"))
    assert torch.equal(final.weight, expected)


@pytest.mark.parametrize("name", ROUNDINGS)
@pytest.mark.parametrize(
    "values",
    [
        torch.randn(500, generator=torch.Generator().manual_seed(2)),
        torch.randn(50, generator=torch.Generator().manual_seed(3)) * 1e-6,
        torch.tensor([1e30, -3.0]),
        torch.tensor([1e-44, -3e-45, 0.0]),
        torch.tensor([127 / 256, -0.5]),
        torch.zeros(3),
        torch.zeros(0),
    ],
    ids=["normal", "small", "huge", "subnormal", "exact", "zero", "empty"],
)
def test_roundings_are_idempotent_close_and_finite(name: str, values: torch.Tensor) -> None:
    rounding = ROUNDINGS[name]
    once = rounding(values)
    assert once.dtype == torch.float32
    assert once.isfinite().all()
    assert torch.equal(rounding(once), once)
    assert torch.equal(once[values == 0], values[values == 0])
    top = float(values.abs().max()) if len(values) else 0.0
    share_of_top = {"float32": 0.0, "float16": 2**-11, "fixed10": 1 / 511, "fixed8": 1 / 127}[name]
    assert float((once - values).abs().sum()) <= len(values) * (share_of_top * top + 3e-8)


@pytest.mark.parametrize(("name", "limit"), [("fixed8", 127), ("fixed10", 511)])
def test_fixed_point_uses_whole_steps_of_a_power_of_two(name: str, limit: int) -> None:
    values = torch.randn(300, generator=torch.Generator().manual_seed(4))
    once = ROUNDINGS[name](values)
    top = float(values.abs().max())
    step = 2.0**-20
    while top / step > limit:
        step *= 2
    integers = once / step
    assert torch.equal(integers, integers.round())
    assert float(integers.abs().max()) <= limit
    assert float((once - values).abs().max()) <= step / 2


def test_an_unknown_storage_format_gets_its_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'float15'\. Did you mean float16"):
        Storage(codebook="float15")


@pytest.mark.parametrize("bias", [False, True])
def test_a_dead_channel_does_not_spoil_the_steps_of_the_others(bias: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=bias), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)
    )
    with torch.no_grad():
        model[0].weight[2] = 0
        for _ in range(200):
            model(images(64))
    wanted = model.eval()(images()).detach()
    assert float(model[1].weight.detach()[2] / (model[1].running_var[2] + 1e-5).sqrt()) > 100
    for norm, error in (("fixed8", 0.05), ("fixed10", 0.01)):
        found = finalize(model, Storage(norm=norm, other="float32"))
        assert float(found[1].weight.detach()[2]) == 0
        assert float((found(images()).detach() - wanted).norm() / wanted.norm()) < error


def test_a_scale_far_above_the_others_is_kept_in_float16_with_them() -> None:
    values = torch.tensor([0.9, -1.1, 1.3, 0.7, 900.0])
    assert torch.equal(ROUNDINGS["fixed8"](values), values.half().float())
    assert torch.equal(ROUNDINGS["fixed10"](values), values.half().float())
    values[-1] = 100.0
    assert float(ROUNDINGS["fixed10"](values)[0]) == 1.0
