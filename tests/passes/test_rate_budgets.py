"""Networks of so many bytes, or bits a weight, without labels: any model, any batches, nothing halfway."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparisons.forms import KINDS, maps, reader, tokens
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import pithnet as pn
from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.passes import prune, quantize_without_labels, share
from pithnet.passes.calibration import read_once
from pithnet.passes.ptq.rate.data_free import DataFreeNetwork
from pithnet.passes.ptq.rate.network import Network
from pithnet.passes.ptq.rate.round_to_budget import joined
from pithnet.passes.ptq.rate.rounding import Effort
from pithnet.passes.ptq.rate.sketches import bits_at
from pithnet.policies import divergence
from pithnet.surgery import fake_quantizer, weighted_layers

NOISE = torch.randn(160, 3, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES = nn.functional.avg_pool2d(NOISE, 3, 1) * 2 + 0.5


class Block(nn.Module):
    """Two convolutions with BN around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.last = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (x + self.last(self.second(self.norm(self.first(x)).relu()))).relu()
        return out


def net(seed: int = 0, width: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), Block(width),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            model(IMAGES)
    return model.eval()


def small() -> nn.Module:
    """A convolution with BN, and a linear layer."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(48, 5, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            model(IMAGES)
    return model.eval()


def size(model: nn.Module) -> int:
    return len(pn.encode(pn.finalize(model)))


def test_the_file_is_as_large_as_asked_for_and_nearer_than_by_bits() -> None:
    reference, even, model = net(width=16), net(width=16), net(width=16)
    quantize_without_labels(even, 3, IMAGES, steps=60)
    record = quantize_without_labels(model, bytes=size(even), calibrate=IMAGES)
    assert 0.95 * size(even) < size(model) <= size(even)
    assert record.what == f"quantize without labels, {size(model):,} bytes"
    assert [row.name for row in record.layers] == ["0", "3.first", "3.second", "6"]
    far = divergence(pn.finalize(even), reference, IMAGES, "mse")
    assert divergence(pn.finalize(model), reference, IMAGES, "mse") < 0.7 * far


def test_sketches_tell_about_which_price_a_file_takes_before_any_layer_is_rounded() -> None:
    reference = net(width=16)
    names = [name for name, _ in weighted_layers(reference)]
    network = Network(reference, names, joined(read_once(reference, IMAGES)), seed=0)
    free = DataFreeNetwork(reference, names)
    for found in (network, free):
        sketches, guesses, sizes = found.sketches(), [], []
        for price in (1e-7, 1e-6, 1e-5):
            guesses.append(bits_at(sketches, price * found.unit))
            model = copy.deepcopy(reference)
            found.round_at(price * found.unit, Effort()).write_(model)
            sizes.append(8 * spent_on(model, names))
        assert guesses == sorted(guesses, reverse=True)
        assert sizes[-1] < 0.7 * sizes[0]
        for guess, size in zip(guesses, sizes, strict=True):
            assert 0.8 < guess / size < 1.1


def spent_on(model: nn.Module, names: list[str]) -> int:
    """Bytes that the weights of these layers take in a file."""
    keys = {f"{name}.weight" for name in names}
    _, account = pn.artifact.encode_and_inspect(pn.finalize(model))
    return sum(sum(t.bytes.values()) for t in account.tensors if t.name in keys)


def test_a_rate_counts_the_bits_of_the_weights_alone() -> None:
    model, rate = net(), 2.0
    weights = {"3.first.weight", "3.second.weight", "6.weight"}
    numbers = sum(value.numel() for name, value in model.state_dict().items() if name in weights)
    record = quantize_without_labels(model, rate=rate, calibrate=IMAGES, skip=["0"])
    _, account = pn.artifact.encode_and_inspect(pn.finalize(model))
    spent = 8 * sum(sum(t.bytes.values()) for t in account.tensors if t.name in weights)
    assert 0.93 * rate < spent / numbers <= rate
    assert f"{spent / numbers:.3f} bits a weight" in record.what
    assert torch.equal(model[0].weight, net()[0].weight)


def test_labels_are_never_read_nothing_is_left_to_chance_and_a_share_is_one_of_float32() -> None:
    found, share_of = [], 1 / 4
    for labels in (torch.arange(160) % 5, torch.full((160,), 9)):
        model = small()
        batches = [*zip(IMAGES.split(40), labels.split(40), strict=True)]
        quantize_without_labels(model, bytes=share_of, calibrate=iter(batches))
        found.append(pn.encode(pn.finalize(model)))
    assert found[0] == found[1]
    assert len(found[0]) <= share_of * pn.artifact.float32_bytes(small().state_dict()) < 1.1 * len(found[0])


def test_the_file_is_loaded_as_it_was_saved_and_the_state_restored(tmp_path: Path) -> None:
    model = net()
    quantize_without_labels(model, bytes=1_300, calibrate=IMAGES)
    pn.save(pn.finalize(model), tmp_path / "model.pith")
    loaded = pn.load(tmp_path / "model.pith", model=net())
    assert torch.equal(loaded(IMAGES), pn.finalize(model)(IMAGES))
    again = pn.restore(net(seed=1), model.state_dict())
    assert torch.equal(again(IMAGES), model(IMAGES))
    # Levels are whole multiples of one step a layer: BN took in the rows' own.
    for name in ("0", "3.first", "3.second"):
        part = fake_quantizer(dict(weighted_layers(model))[name])
        assert part is not None
        assert part.scale is not None
        assert len(part.scale) == 1
        assert float(part.scale.log2()) == round(float(part.scale.log2()))
    assert not model[3].second.bias.any()  # it is in the BN behind, and takes no bytes


def test_pruned_weights_stay_zero_and_training_goes_on_from_the_levels() -> None:
    model = small()
    prune(model, 0.4)
    zeros = {name: layer.weight == 0 for name, layer in weighted_layers(model)}
    quantize_without_labels(model, rate=2.5, calibrate=IMAGES)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    before = model(IMAGES).detach()
    for _ in range(3):
        optimizer.zero_grad()
        (model(IMAGES) - 2 * before).square().mean().backward()
        optimizer.step()
    assert not torch.equal(model(IMAGES), before)
    for name, layer in weighted_layers(model):
        assert not layer.weight[zeros[name]].any()
        part = fake_quantizer(layer)
        assert part is not None
        assert part.scale is not None
        multiples = layer.weight / part.scale
        assert torch.equal(multiples, multiples.round())


class Pair(nn.Module):
    """Two inputs by name; it decides by numbers, so no graph can follow it, and gives a dict and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(12, 24), nn.Linear(12, 24)
        self.norm, self.head = nn.BatchNorm1d(24), nn.Linear(24, 6)

    def forward(self, left: Tensor, right: Tensor) -> tuple[dict[str, Tensor], int]:
        x = self.norm(self.left(left)) if float(left.sum()) < 1e9 else left
        return {"out": self.head((x + self.right(right)).relu())}, len(left)


class WithAttention(nn.Module):
    """torch's own attention, whose weights are read and never called, and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.attend = (
            nn.Conv1d(12, 12, 3, padding=1, groups=12),
            nn.MultiheadAttention(12, 2, batch_first=True),
        )
        self.recurrent = nn.GRU(12, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(x.mT).mT
        x = x + self.attend(x, x, x, need_weights=False)[0]
        found: Tensor = self.recurrent(x)[0]
        return found


def pair() -> dict[str, Tensor]:
    drawn = torch.randn(2, 120, 12, generator=torch.Generator().manual_seed(0))
    return {"left": drawn[0] @ drawn[0, :12], "right": drawn[1]}


SEQUENCES = torch.randn(64, 9, 12, generator=torch.Generator().manual_seed(0)).cumsum(1)
FORMS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    **{kind: (make, maps()) for kind, make in KINDS.items()},
    "embeddings, attention by keyword": (reader, tokens()),
    "batches of several sizes": (
        reader,
        [(tokens()["input_ids"][i : i + 9 - i % 2],) for i in range(9)],
    ),
    "inputs by name, dict and number": (Pair, pair()),
    "attention, depthwise, recurrent": (WithAttention, SEQUENCES),
}


@pytest.mark.parametrize("form", FORMS)
def test_layers_calls_and_outputs_of_every_form(form: str) -> None:
    make, calibrate = FORMS[form]
    torch.manual_seed(0)
    reference = make().eval()
    batches = joined(read_once(reference, calibrate))
    names = [name for name, _ in weighted_layers(reference)]
    network = Network(reference, names, batches, seed=0)
    errors = []
    for price in (1e-6, 1e-4):
        outcome, model = network.round_at(price * network.unit, Effort()), copy.deepcopy(reference)
        assert {*outcome.weights, *network.unread} == {*names}
        outcome.write_(model)
        errors.append(_difference(model, reference, calibrate))
        plain = copy.deepcopy(reference)
        for name, layer in weighted_layers(plain):
            stored = outcome.weights.get(name)
            if stored is not None:  # the nearest level of the same steps
                scale = stored.scale.mean()
                layer.weight.detach().copy_((layer.weight / scale).round() * scale)
        assert errors[-1] < 0.95 * _difference(plain, reference, calibrate)
    assert errors[0] < errors[1] / 4


@pytest.mark.parametrize("number", [np.int64(2600), np.float32(0.25)])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    model = net()
    quantize_without_labels(model, bytes=number)
    assert size(model) <= 2600


def test_a_recurrent_layer_alone_keeps_a_budget() -> None:
    model = nn.GRU(12, 8, batch_first=True)
    quantize_without_labels(model, bytes=800, calibrate=SEQUENCES)
    assert 700 < size(model) <= 800


class Frozen(nn.Module):
    """A backbone without gradients and a head; one layer is never read."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.never = nn.Linear(12, 64), nn.Linear(64, 6), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.body(x).relu()
        found: Tensor = self.head(x)
        return found


def test_layers_that_no_gradient_goes_through_are_rounded_too_and_the_budget_is_kept() -> None:
    model = Frozen().eval()
    x = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
    record = quantize_without_labels(model, bytes=7500, calibrate=x)
    assert record.unread == ("never",)
    assert 7400 < size(model) <= 7500
    assert all(fake_quantizer(layer) for name, layer in weighted_layers(model) if name != "never")
    with pytest.raises(RecipeError, match=r"with never in float, which the network never reads, .* take"):
        quantize_without_labels(Frozen().eval(), bytes=6000, calibrate=x)
    of_two = Frozen().eval()
    quantize_without_labels(of_two, rate=2.5, calibrate=x)
    assert fake_quantizer(dict(weighted_layers(of_two))["body"])


ALIKE = torch.randn(1, 12, generator=torch.Generator().manual_seed(1))
STILL = {
    "one sample": ALIKE,
    "the same sample": ALIKE.expand(150, 12),
    "zeros": torch.zeros(150, 12),
    "one input varies": ALIKE + torch.eye(12)[0] * torch.linspace(-1, 1, 150)[:, None],
}


@pytest.mark.parametrize("way", STILL)
def test_inputs_that_do_not_vary_are_no_error(way: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 5))
    before = model(STILL[way]).detach()
    quantize_without_labels(model, bytes=900, calibrate=STILL[way])
    assert size(model) <= 900
    assert float((model(STILL[way]).detach() - before).norm()) < 0.1 * float(before.norm())


def test_inputs_far_from_zero_are_told_apart() -> None:
    torch.manual_seed(0)
    near = torch.randn(400, 12)
    errors = []
    for offset in (0.0, 3e3):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(12, 5))
        before = model(near + offset).detach()
        quantize_without_labels(model, bytes=250, calibrate=near + offset)
        found = model(near + offset).detach()
        errors.append(float((found - before).std(0).mean() / before.std(0).mean()))
    assert errors[1] < 1.2 * errors[0]


def _difference(model: nn.Module, reference: nn.Module, calibrate: Any) -> float:
    from pithnet.learn.batch import call, tensors
    from pithnet.passes.calibration import batches_of

    total = 0.0
    with torch.no_grad():
        for inputs, _ in batches_of(reference, calibrate):
            found, wanted = (call(m, inputs) for m in (model, reference))
            found, wanted = (getattr(v, "logits", v) for v in (found, wanted))
            pairs = zip(tensors(found), tensors(wanted), strict=True)
            total += sum(float((a - b).square().sum()) for a, b in pairs)
    return total


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_file_of_a_network_in_half_precision_keeps_the_budget(dtype: torch.dtype) -> None:
    model = net(width=16).to(dtype)
    record = quantize_without_labels(model, bytes=2500)
    assert record.what == f"quantize without labels or images, {size(model):,} bytes"
    assert 0.9 * 2500 < size(model) <= 2500


def test_half_precision_is_computed_in_float32_and_given_back() -> None:
    reference, model = small(), small().half()
    quantize_without_labels(model, rate=4.5, calibrate=IMAGES)
    floats = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    assert {t.dtype for t in floats} == {torch.float16}
    with torch.no_grad():
        wanted, found = reference(IMAGES), model(IMAGES.half()).float()
    assert float((found - wanted).norm() / (wanted - wanted.mean(0)).norm()) < 0.25


def test_without_data_weights_and_norms_decide() -> None:
    reference, errors = small(), []
    for amount in ({"bits": 8}, {"rate": 6.0}, {"bytes": 500}):
        model = small()
        quantize_without_labels(model, **amount)
        with torch.no_grad():
            errors.append(float((model(IMAGES) - reference(IMAGES)).square().mean()))
    assert errors[0] < errors[2]
    assert errors[1] < errors[2] / 4
    assert 450 < size(model) <= 500


def test_short_batches_of_one_shape_go_together_and_lose_their_labels() -> None:
    rows = [torch.full((30, 2), float(i)) for i in range(8)]
    found = joined([(x, torch.zeros(30)) for x in rows])
    assert [len(x) for x, _ in found] == [120, 120]
    assert torch.equal(torch.cat([x for x, _ in found]), torch.cat(rows))
    assert all(labels is None for _, labels in found)
    named = joined([({"a": x, "b": x[:, :1]}, None) for x in rows])
    assert [{k: tuple(v.shape) for k, v in x.items()} for x, _ in named] == 2 * [
        {"a": (120, 2), "b": (120, 1)}
    ]
    others = [rows[0], rows[1][:, :1], {"a": rows[2], "table": torch.zeros(5)}, (rows[3], rows[4])]
    assert [x for x, _ in joined([(x, None) for x in others])] == others


def shared() -> nn.Module:
    model = net()
    share(model, 3)
    return model


class Classes(nn.Module):
    """Gives the number of a class."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, 0].flatten(1)).argmax(1)


class Nowhere(nn.Module):
    """Has a layer and computes without it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return x


OTHER = torch.zeros(8, 4, 6, 6)
REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], type[Exception], str]] = {
    "nothing": (net, {}, RecipeError, "exactly one of bits= .* not none of them"),
    "two": (net, {"bits": 4, "rate": 2}, RecipeError, "not bits=4 and rate=2"),
    "three": (net, {"bits": 4, "rate": 2, "bytes": 9}, RecipeError, "bits=4 and rate=2 and bytes=9"),
    "no rate": (net, {"rate": 0}, RecipeError, "rate must be a number above 0, not 0"),
    "in words": (net, {"bytes": "63k"}, RecipeError, "bytes must be a number above 0, not '63k'"),
    "too few bytes": (net, {"bytes": 300}, RecipeError, r"zeros .* take [\d,]+ bytes already"),
    "too low a rate": (net, {"rate": 0.001}, RecipeError, "more than the 0.001 asked for; give more, or"),
    "overrides": (net, {"rate": 2, "overrides": {"0": 4}}, RecipeError, "overrides= gives layers other bits"),
    "no batch": (net, {"rate": 2, "calibrate": iter([])}, DataError, "give calibrate= at least one"),
    "none, bits": (net, {"bits": 2, "calibrate": []}, DataError, "give calibrate= at least one"),
    "shape": (net, {"rate": 2, "calibrate": OTHER}, DataError, r"batch 0 .*\(8, 4, 6, 6\): .*give samples"),
    "shape, bits": (net, {"bits": 2, "calibrate": OTHER}, DataError, "batch 0 of calibrate"),
    "later": (net, {"rate": 2, "calibrate": [IMAGES, OTHER]}, DataError, "batch 1 of calibrate"),
    "a count": (net, {"rate": 2, "calibrate": 1024}, DataError, "calibrate is an int; give a loader"),
    "a number": (net, {"rate": 2, "calibrate": torch.tensor(1.0)}, DataError, "give a loader of"),
    "an array": (net, {"rate": 2, "calibrate": IMAGES.numpy()}, DataError, r"torch.from_numpy\(calibrate\)"),
    "a data set": (net, {"bits": 2, "calibrate": TensorDataset(IMAGES)}, DataError, "wrap it as DataLoader"),
    "classes": (Classes, {"rate": 2, "calibrate": IMAGES}, ModelError, "let its forward return logits or"),
    "steps": (net, {"bits": 2, "calibrate": IMAGES, "steps": -1}, RecipeError, "steps is -1; use a whole"),
    "not a number": (net, {"rate": 2, "calibrate": IMAGES * torch.nan}, ModelError, "NaN or inf"),
    "shared": (shared, {"rate": 2, "calibrate": IMAGES}, ModelError, "0 is shared"),
    "unread": (Nowhere, {"rate": 8, "calibrate": IMAGES}, ModelError, "reads none of the weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_and_nothing_has_changed(case: str) -> None:
    make, arguments, error, message = REFUSED[case]
    model = make()
    before, parameters = copy.deepcopy(model), list(model.parameters())
    with pytest.raises(error, match=message):
        quantize_without_labels(model, **arguments)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    for key, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
