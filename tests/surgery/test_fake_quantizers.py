"""Fake quantizers on weights: masks, plain loops, restoring, finalizing, ties."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pithnet.errors import ModelError
from pithnet.passes import prune, quantize
from pithnet.surgery import (
    FakeQuantizer,
    Mask,
    chain,
    fake_quantizer,
    finalize,
    latent_weight,
    restore,
    unquantized_weight,
    weighted_layers,
)
from pithnet.tensor.quantizers import QUANTIZERS, get_quantizer

from .compressed import net, sgd, train_plainly

WAYS = [(name, granularity) for name in sorted(QUANTIZERS) for granularity in ("tensor", "channel", "group")]


def quantized(
    name: str = "linear", granularity: str = "channel", bits: int = 4, sparsity: float = 0.5
) -> nn.Module:
    model = net()
    prune(model, sparsity)
    quantize(model, bits, quantizer=name, granularity=granularity, group_size=8, fit="range")
    return model


def level_counts(model: nn.Module) -> dict[str, int]:
    """The most distinct non-zero values that one step of a layer gives."""
    counts = {}
    for name, layer in weighted_layers(model):
        part = fake_quantizer(layer)
        assert part is not None
        counts[name] = max(row[row != 0].unique().numel() for row in part.rows(layer.weight.detach()))
    return counts


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize(("name", "granularity"), WAYS)
def test_a_plain_loop_keeps_zeros_and_levels(name: str, granularity: str, bits: int) -> None:
    model = quantized(name, granularity, bits)
    before = {n: layer.weight.detach().clone() for n, layer in weighted_layers(model)}
    optimizer = sgd(model)
    for _ in range(3):
        train_plainly(model, optimizer, 2)
        for n, layer in weighted_layers(model):
            pruned = before[n] == 0
            masked = next(p for p in chain(layer) if isinstance(p, Mask)).mask
            assert not layer.weight[~masked].any()
            assert int((~masked).sum()) <= int(pruned.sum())
        assert all(count <= 2**bits for count in level_counts(model).values())
    assert any(not torch.equal(layer.weight, before[n]) for n, layer in weighted_layers(model))


def test_a_learned_step_learns_and_a_fixed_one_does_not() -> None:
    model = quantized("lsq")
    part = fake_quantizer(model[3])
    assert part is not None
    assert isinstance(part.scale, nn.Parameter)
    before = part.scale.detach().clone()
    train_plainly(model, sgd(model), 3)
    assert not torch.equal(part.scale, before)
    model = net()
    quantize(model, 4, fit="mse")
    part = fake_quantizer(model[3])
    assert part is not None
    assert part.scale is not None
    before = part.scale.clone()
    train_plainly(model, sgd(model), 3)
    assert torch.equal(part.scale, before)


def test_zeros_of_a_plain_weight_are_masked_before_it_is_quantized() -> None:
    model = net()
    with torch.no_grad():
        model[5].weight[:, :50] = 0
    quantize(model, 3, quantizer="dynamic", fit="range")
    train_plainly(model, sgd(model), 3)
    assert not model[5].weight[:, :50].any()
    assert [type(part) for part in chain(model[0])] == [FakeQuantizer]


def test_quantizing_again_replaces_the_levels_and_keeps_the_mask() -> None:
    model = quantized(bits=4)
    latent = latent_weight(model[3])
    quantize(model, 2, fit="range")
    assert [type(part) for part in chain(model[3])] == [Mask, FakeQuantizer]
    assert latent_weight(model[3]) is latent
    assert max(level_counts(model).values()) <= 4


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("name", "granularity"), WAYS)
def test_a_state_dict_restores_the_same_model(name: str, granularity: str, trained: bool) -> None:
    model = quantized(name, granularity)
    if trained:
        train_plainly(model, sgd(model), 2)
    again = restore(net(), copy.deepcopy(model.state_dict()))
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(again.eval()(x), model.eval()(x))
    for (_, one), (_, other) in zip(weighted_layers(model), weighted_layers(again), strict=True):
        assert [type(p) for p in chain(one)] == [type(p) for p in chain(other)]
        first, second = fake_quantizer(one), fake_quantizer(other)
        assert first is not None
        assert second is not None
        assert (first.quantizer, first.granularity) == (second.quantizer, second.granularity)
        if granularity == "group":
            assert first.group_size == second.group_size == 8
    train_plainly(again, sgd(again), 1)


def test_a_state_of_an_unknown_quantizer_is_refused() -> None:
    state = dict(quantized().state_dict())
    key = "3.parametrizations.weight.1._extra_state"
    for spec in ([99, 4, 1, 1], [0, 40, 1, 1], [-1, 4, 1, 1]):
        with pytest.raises(ModelError, match="fake quantizer of an unknown kind"):
            restore(net(), {**state, key: torch.tensor(spec)})
    with pytest.raises(ModelError, match=r"the state has an unknown parametrization 3\.param"):
        restore(net(), {**state, key: torch.tensor([0, 4])})
    learned = dict(quantized("lsq").state_dict())
    short = "3.parametrizations.weight.1.scale"
    with pytest.raises(ModelError, match="3 scales for the 8 rows of a weight"):
        restore(net(), {**learned, short: learned[short][:3]})
    with pytest.raises(ModelError, match=r"quantized otherwise; load it with pithnet.restore"):
        quantized("dynamic").load_state_dict(state)


@pytest.mark.parametrize(("name", "granularity"), WAYS)
def test_finalizing_keeps_zeros_and_levels_on_a_short_grid(name: str, granularity: str) -> None:
    model = quantized(name, granularity)
    final = finalize(model)
    for (_, layer), (_, plain) in zip(weighted_layers(model), weighted_layers(final), strict=True):
        assert not chain(plain)
        part = fake_quantizer(layer)
        assert part is not None
        assert not plain.weight[unquantized_weight(layer) == 0].any()
        # A weight halfway between two levels may fall to the other one, for offsets are rounded too.
        moved = (plain.weight - layer.weight).detach().abs()
        step = float(part.levels(part.rows(unquantized_weight(layer))).scale.detach().max())
        widest = step * (8 if name == "apot" else 1)
        assert float(moved.max()) <= 1.05 * widest
        assert float(moved.mean()) <= 0.06 * widest
        assert max(r[r != 0].unique().numel() for r in part.rows(plain.weight)) <= 16
    assert fake_quantizer(model[3]) is not None, "the model itself is as it was"


def test_finalized_weights_are_final() -> None:
    model = quantized("linear", bits=8)
    once = finalize(model)
    twice = finalize(once)
    quantize(once, 8, fit="range")
    again = finalize(once)
    for key, value in twice.state_dict().items():
        if key.endswith("weight") and value.ndim > 1:
            assert torch.allclose(again.state_dict()[key], value, rtol=2e-3, atol=1e-6)


def test_tied_weights_share_one_quantizer() -> None:
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Linear(6, 6, bias=False))
    model[2].weight = model[0].weight
    record = quantize(model, 3, quantizer="lsq", fit="range")
    assert len(record.layers) == 1
    assert torch.equal(model[0].weight, model[2].weight)
    assert len(list(model.parameters())) == 2


def test_a_frozen_layer_has_a_frozen_step() -> None:
    model = net()
    model[3].weight.requires_grad_(False)
    quantize(model, 4, quantizer="lsq", fit="range")
    frozen, free = fake_quantizer(model[3]), fake_quantizer(model[0])
    assert frozen is not None
    assert free is not None
    assert not frozen.scale.requires_grad  # type: ignore[union-attr]
    assert free.scale.requires_grad  # type: ignore[union-attr]


def test_a_quantizer_of_unknown_granularity_is_refused() -> None:
    with pytest.raises(Exception, match=r"'row'"):
        FakeQuantizer(get_quantizer("linear", 4), "row")


def test_compile_follows_a_mask_and_a_fake_quantizer() -> None:
    model = quantized().eval()
    x = torch.randn(2, 1, 8, 8)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), model(x), atol=1e-6)


def test_export_writes_the_weight_as_quantize_and_dequantize() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    quantize(model, 8, fit="range")
    program = torch.export.export(model.eval(), (torch.randn(2, 1, 8, 8),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any("fake_quantize_per_channel_affine" in name for name in called)
