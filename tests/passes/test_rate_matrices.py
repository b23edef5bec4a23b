"""Layers as matrices, walks through networks, what errors cost, and BNs that follow: each is an exact law."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pithnet.passes.ptq.rate.matrices import matrix_of
from pithnet.passes.ptq.rate.moments import Sums
from pithnet.passes.ptq.rate.norms import deviation_ratio, follow_
from pithnet.passes.ptq.rate.sensitivity import sensitivity_of
from pithnet.passes.ptq.rate.walks import walking
from pithnet.tensor.rate_distortion.in_order import Feedback

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 4), (5, 6)),
    "linear on sequences": (nn.Linear(6, 4), (5, 3, 6)),
    "conv1d, same": (nn.Conv1d(4, 6, 3, padding="same", dilation=2), (5, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, padding=1), (5, 4, 7, 6)),
    "strided, oblong": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), (5, 4, 7, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (5, 4, 7, 6)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), (5, 4, 7, 6)),
    "circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (5, 4, 7, 6)),
    "conv3d": (nn.Conv3d(2, 3, 2, padding=1), (5, 2, 4, 3, 3)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (5, 4, 5, 4)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, dilation=2, groups=2), (5, 4, 5, 4)),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 4, stride=3), (5, 4, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
@torch.no_grad()
def test_a_matrix_times_its_inputs_is_what_the_layer_gives(kind: str) -> None:
    layer, shape = copy.deepcopy(LAYERS[kind][0]).double(), LAYERS[kind][1]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, matrix = layer(x), matrix_of(layer)
    assert matrix is not None
    weight: Any = layer.weight
    assert torch.equal(matrix.weight(matrix.matrix(weight)), weight)
    vectors = matrix.outputs(y)
    at = torch.randperm(vectors.shape[1], generator=torch.Generator().manual_seed(1))[:7]
    given = matrix.matrix(weight) @ matrix.inputs(x, y, at)  # (G, O, n)
    found = given.flatten(0, 1).t().view(-1, len(at), len(layer.bias)) + layer.bias
    assert torch.allclose(found.view(-1, len(layer.bias)), vectors[:, at].flatten(0, 1), atol=1e-12)
    assert len(matrix.neighbours().left) == matrix.matrix(weight).shape[2]


def test_moments_give_back_the_weights_that_made_the_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 4000, generator=generator, dtype=torch.float64) + 3
    weight = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    sums = Sums()
    for part in x.split(1000, dim=2):
        sums.add(part, (weight @ part).flatten(0, 1).t() + 7)
    moments = sums.moments()
    assert torch.allclose(moments.target(weight), weight, atol=1e-9)
    mean, variance = moments.given(weight)
    assert torch.allclose(moments.outputs - 7, mean)
    assert torch.allclose(moments.variance, variance)
    # Where something else was given, the outputs that should be there come back as far as inputs tell.
    other = Sums()
    other.add(x * 2, (weight @ x).flatten(0, 1).t())
    assert torch.allclose(other.moments().target(weight), weight / 2, atol=0.1 * float(weight.abs().max()))


def test_moments_of_constant_inputs_have_no_variance_and_a_target() -> None:
    constant = torch.full((1, 3, 500), 0.1)
    varied = torch.randn(1, 2, 500, generator=torch.Generator().manual_seed(0)) + 1e4
    x = torch.cat([constant, varied], 1)
    weight = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(1))
    sums = Sums()
    for part in x.split(125, dim=2):
        sums.add(part, (weight @ part).flatten(0, 1).t())
    moments = sums.moments()
    assert not moments.covariance[0, :3].any()
    assert moments.covariance[0, 3:, 3:].diagonal().tolist() == pytest.approx([1, 1], abs=0.2)
    assert torch.allclose(moments.inputs[0], x[0].mean(1))
    assert torch.allclose(moments.target(weight)[..., :3], weight[..., :3])
    Feedback.of(moments.hessian()[0])


class Chain(nn.Module):
    """Three linear layers; what is between them depends on the data, so no graph can follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        x = x * 2 if float(x.sum()) > 0 else x * 3
        found: Tensor = self.third(x)
        return found


def chain() -> tuple[Chain, list[tuple[Tensor, None]]]:
    torch.manual_seed(0)
    return Chain().eval(), [(torch.randn(4, 6), None) for _ in range(3)]


def test_batches_wait_at_a_layer_and_go_on_with_what_it_became() -> None:
    model, batches = chain()
    plain, threads = copy.deepcopy(model), threading.active_count()
    with walking(model, ["first", "second", "third"], batches) as walks:
        for batch, (x, _) in enumerate(batches):
            assert torch.equal(walks.output(batch, "first"), plain.first(x))
        with torch.no_grad():
            model.second.weight.mul_(2)
        for batch, (x, _) in enumerate(batches):
            given = walks.given(batch, "second")
            assert given is not None
            assert torch.equal(given.args[0], plain.first(x))
        with torch.no_grad():
            model.third.bias.zero_()
        for batch, (x, _) in enumerate(batches):
            assert torch.equal(walks.output(batch, "third"), model(x))
            assert walks.output(batch, "third") is None  # it is called once
    assert threading.active_count() == threads
    assert not model.first._forward_hooks


def test_walks_that_are_not_needed_end_and_errors_come_out() -> None:
    model, batches = chain()
    threads = threading.active_count()
    with walking(model, ["first"], batches):
        pass
    with walking(model, ["second"], batches) as walks:
        walks.given(0, "second")
    with walking(model, ["third"], batches) as walks:
        model.third = nn.Linear(7, 3)
        with pytest.raises(RuntimeError, match="mat1 and mat2"):
            walks.output(0, "third")
    with walking(model, ["second"], batches) as walks:
        walks.given(1, "second")
        raised = walks  # the block may end halfway through
    assert raised.given(1, "second") is None
    assert threading.active_count() == threads


def test_the_metric_of_outputs_is_that_of_the_layers_behind() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)).double()
    layers = {name: matrix_of(model.get_submodule(name)) for name in ("0", "1", "2")}
    batches = [(torch.randn(4096, 6, dtype=torch.float64), None) for _ in range(1)]
    found = sensitivity_of(model, layers, {"weight": model[2].weight}, batches, seed=0)  # type: ignore[arg-type]
    behind = model[2].weight @ model[1].weight
    expected = (behind.t() @ behind).detach()
    assert float((found.outputs["0"] - expected).norm() / expected.norm()) < 0.05
    assert float((found.outputs["2"] - torch.eye(3)).norm()) < 0.1
    assert found.samples == 4096
    assert not any(p.grad is not None for p in model.parameters())


def test_errors_of_weights_cost_what_they_make_of_the_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3).double()
    batches = [(torch.randn(16, 6, dtype=torch.float64) * torch.arange(6), None) for _ in range(400)]
    found = sensitivity_of(model, {}, {"weight": model.weight}, batches[:32], seed=0).weights["weight"]
    # An error of the weight to input j costs the mean of x_j^2, whichever output it is of.
    ratio = found.mean(0)[1:] / torch.arange(6.0).square()[1:]
    assert float(ratio.max()) < 2
    assert float(ratio.min()) > 0.5


@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_that_follows_gives_what_it_gave(affine: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm1d(4, affine=affine).double().eval()
    norm.running_mean.normal_(generator=generator)
    norm.running_var.uniform_(0.5, 2, generator=generator)
    if affine:
        nn.init.normal_(norm.weight, generator=generator)
        norm.running_var[0] = 0  # a dead channel: no variance is left to shrink
    scale, before, now = (torch.rand(4, generator=generator, dtype=torch.float64) + 0.7 for _ in range(3))
    moved = copy.deepcopy(norm)
    follow_(moved, scale, before, now)
    x = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    assert torch.allclose(moved(x), norm((x - now) * scale + before), atol=1e-9)
    trained = moved.train()((x - before) / scale + now)[:, 1:]
    assert torch.allclose(trained, norm.train()(x)[:, 1:], atol=1e-3)


def test_ratios_of_deviations_have_limits() -> None:
    expected, found = torch.tensor([4.0, 1e6, 1.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 1e6, 1.0, 0.0])
    assert deviation_ratio(expected, found).tolist() == pytest.approx([2.0, 3.0, 0.2, 1.0, 1.0])
