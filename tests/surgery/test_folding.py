"""BatchNorm multiplied into layers, and graphs read from a network's forward."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pithnet import zoo
from pithnet.errors import ModelError
from pithnet.passes import prune, quantize, share
from pithnet.surgery import Mask, chain, fold_into_layers_, weighted_layers


def lively(model: nn.Module) -> nn.Module:
    """The model with BN statistics and parameters that are no trivial ones."""
    g = torch.Generator().manual_seed(0)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.running_mean is not None:
            m.running_mean.copy_(torch.randn(m.num_features, generator=g) / 4)
            m.running_var.copy_(torch.rand(m.num_features, generator=g) + 0.5)  # type: ignore[union-attr]
            if m.affine:
                nn.init.uniform_(m.weight, -1, 1.5, generator=g)
                nn.init.normal_(m.bias, 0, 0.3, generator=g)
    return model.eval()


class _Plain(nn.Conv2d):
    """A convolution of another name."""


NETWORKS = {
    "convolution": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
    "with a bias": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
    "no affine": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)),
    "transposed in groups": lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 6, 3, groups=3),
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 4, 3, groups=2),
        nn.BatchNorm2d(4),
    ),
    "mirrored padding": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 5, padding=3, padding_mode="reflect"), nn.BatchNorm2d(4)
    ),
    "wrapped padding": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding="same", padding_mode="circular", dilation=2), nn.BatchNorm2d(4)
    ),
    "identity between": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4)),
    "own class, nothing else": lambda: nn.Sequential(_Plain(3, 4, 3), nn.BatchNorm2d(4)),
    "cumulative mean": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None)),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5)),
    "resnet20": lambda: zoo.build("resnet20"),
    "resnet20b": lambda: zoo.build("resnet20b"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_folded_network_computes_the_same_without_bn(name: str) -> None:
    torch.manual_seed(1)
    model, x = lively(NETWORKS[name]()), torch.randn(2, 3, 8, 8)
    expected = model(x).detach()
    count = sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    folded = fold_into_layers_(model).folded
    assert len(folded) == count > 0
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    assert torch.allclose(model(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert fold_into_layers_(model).folded == ()


def test_masks_stay_and_shared_weights_keep_their_zeros() -> None:
    model = lively(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    )
    prune(model, 0.5)
    zeros = [layer.weight == 0 for _, layer in weighted_layers(model)]
    share(model, 3, skip=("0",))
    x = torch.randn(2, 3, 8, 8)
    expected = model(x)
    fold_into_layers_(model)
    assert torch.allclose(model(x), expected, atol=1e-5)
    for (_, layer), pruned in zip(weighted_layers(model), zeros, strict=True):
        assert [type(part) for part in chain(layer)] == [Mask]
        assert torch.equal(layer.weight == 0, pruned)


class _Twice(nn.Module):
    """A convolution used at two places, a BN after something else, and one whose input is used elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn1, self.bn2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.other, self.bn3, self.bn4 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv(self.bn1(self.conv(x))))
        z = self.other(y)
        return self.bn3(z) + z + self.bn4(torch.relu(z))


def test_a_bn_that_does_not_stand_alone_after_a_layer_stays() -> None:
    model = _Twice()
    assert fold_into_layers_(model).folded == ()
    tied = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    tied[2].weight = tied[0].weight
    assert fold_into_layers_(tied).folded == ()
    unknown = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    assert fold_into_layers_(unknown).folded == ()


def test_a_quantized_weight_is_not_folded_into() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    quantize(model, 4, fit="range")
    with pytest.raises(ModelError, match=r"0.weight is quantized already, its BatchNorm not folded"):
        fold_into_layers_(model)


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else x


def test_a_forward_that_cannot_be_followed_is_named_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"forward of _Branches.*take what depends on the data"):
        fold_into_layers_(_Branches())
    with pytest.raises(ModelError, match=r"put it into nn.Sequential"):
        fold_into_layers_(nn.Conv2d(3, 3, 1))


class _Steps(nn.Module):
    """A linear layer on (N, L, C) and the BN after it, which normalises L."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 5), norm

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.linear(x))
        return out


def test_a_bn_along_another_axis_stays() -> None:
    for steps in (5, 7):
        model, x = lively(_Steps(nn.BatchNorm1d(steps))), torch.randn(2, steps, 3)
        expected = model(x).detach()
        assert fold_into_layers_(model, x).folded == ()
        assert torch.equal(model(x), expected)
    assert fold_into_layers_(_Steps(nn.BatchNorm1d(7))).folded == ()  # without an input the sizes tell
    assert fold_into_layers_(_Steps(nn.BatchNorm2d(5))).folded == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_example_changes_nothing_where_bn_is_along_the_outputs(name: str) -> None:
    torch.manual_seed(1)
    model, x = lively(NETWORKS[name]()).train(), torch.randn(1, 3, 8, 8)
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    count = sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    twin = lively(NETWORKS[name]())
    twin.load_state_dict(model.state_dict())
    assert len(fold_into_layers_(model, x).folded) == count == len(before) / 2
    fold_into_layers_(twin)
    for key, value in twin.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


class _Shared(nn.Module):
    """A layer whose weight or bias serves elsewhere too."""

    def __init__(self, tensor: str) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
        self.tensor = tensor
        if tensor != "read":
            setattr(self.second, tensor, getattr(self.first, tensor))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.norm(self.first(x)))
        return y @ self.first.weight if self.tensor == "read" else y


@pytest.mark.parametrize("tensor", ["weight", "bias", "read"])
def test_a_layer_whose_tensors_serve_elsewhere_is_not_folded_into(tensor: str) -> None:
    model, x = lively(_Shared(tensor)), torch.randn(4, 3)
    expected = model(x).detach()
    assert fold_into_layers_(model).folded == ()
    assert torch.equal(model(x), expected)


def _pair(layer: nn.Module | None = None, **norm: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(layer or nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **norm)).eval()


def test_norms_for_many_processes_and_lazy_layers_are_folded() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 3, 8, 8)
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Conv2d(4, 4, 1), nn.SyncBatchNorm(4))
    with torch.no_grad():
        lazy(x)
    model = lively(lazy)
    expected = model(x).detach()
    assert fold_into_layers_(model, x).folded == ("1", "3")
    assert torch.allclose(model(x), expected, atol=1e-5)


def _summing() -> nn.Module:
    """A convolution whose outputs are the sums of its inputs, but for a little."""
    conv = nn.Conv2d(3, 4, 3)
    nn.init.normal_(conv.weight, 1.0, 0.01)
    return conv


def _with(pair: nn.Module, mean: float, variance: float, scale: float = 1.0) -> nn.Module:
    nn.init.constant_(pair[1].weight, scale)  # type: ignore[index,arg-type]
    pair[1].running_mean.fill_(mean)  # type: ignore[index,operator,union-attr]
    pair[1].running_var.fill_(variance)  # type: ignore[index,operator,union-attr]
    return pair


class _AlwaysTraining(nn.Module):
    """Its BN takes the statistics of the batch in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.bn.training = True
        return self

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out


class _Read(_AlwaysTraining):
    """Its forward reads the BN's scale beside calling it."""

    def train(self, mode: bool = True) -> nn.Module:
        return nn.Module.train(self, mode)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.bn.weight.sum()


# Models whose BN stays, and why.
KEPT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a weight beyond float16": (lambda: _with(_pair(eps=0.0), 0.0, 1e-12).half(), "gives other numbers"),
    "a weight beyond float32": (lambda: _with(_pair(eps=0.0), 0.0, 1e-44, 1e30), "gives other numbers"),
    "no variance, no eps": (lambda: _with(_pair(eps=0.0), 0.0, 0.0), "gives other numbers"),
    "a mean that rounding drowns in": (lambda: _with(_pair(_summing()), 1e6, 1.0), "gives other numbers"),
    "statistics of the batch": (_AlwaysTraining, "eval() leaves it in train mode"),
    "a scale that is read": (_Read, "does not stand alone"),
    "another parametrization": (
        lambda: _pair(parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
        "0 (Conv2d) has a parametrization of another library (_WeightNorm)",
    ),
    "a hook on what stands between": (lambda: _between(), "does not stand alone"),
}


def _between() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4)).eval()
    model[1].register_forward_hook(lambda m, inputs, y: y.abs())
    return model


@pytest.mark.parametrize("example", [False, True])
@pytest.mark.parametrize("case", KEPT)
def test_what_would_change_the_numbers_stays_and_is_named(case: str, example: bool) -> None:
    make, why = KEPT[case]
    model = make()
    x = torch.randn(2, 3, 8, 8) + (1e6 / 27 if "drowns" in case else 0.0)
    before = copy.deepcopy(model.state_dict())
    folding = fold_into_layers_(model, x.to(next(model.parameters()).dtype) if example else None)
    (name,) = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert folding.folded == ()
    assert list(folding.kept) == [name]
    assert why in folding.kept[name]
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if "running" not in k and "num" not in k)


def test_only_what_is_asked_for_is_folded() -> None:
    model = lively(NETWORKS["transposed in groups"]())
    assert fold_into_layers_(model, only=["3"]).folded == ("3",)
    assert isinstance(model[1], nn.BatchNorm2d)
    assert isinstance(model[3], nn.Identity)
