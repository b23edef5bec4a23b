"""What criteria are told about data: gradients and inputs by hand, and a model that is left alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.data import Batches
from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.learn import Loss
from pithnet.passes import GradualPruning, prune
from pithnet.passes.evidence import collect
from pithnet.surgery import Mask, latent_weight, parametrization
from pithnet.surgery.weights import kinds
from pithnet.tensor import CRITERIA, get_criterion, global_masks

from .networks import net

MEASURING = [name for name, known in CRITERIA.items() if known.needs_batches]


def two_layers() -> nn.Sequential:
    """relu(x A^T) B^T in float64: three inputs, four hidden, two outputs."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()


def two_batches() -> list[tuple[Tensor, Tensor]]:
    """Five samples and three."""
    g = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, 3, generator=g, dtype=torch.float64), torch.randint(2, (n,), generator=g))
        for n in (5, 3)
    ]


def by_hand(model: nn.Sequential, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the mean cross-entropy by the chain rule, without autograd."""
    a, b = model[0].weight.detach(), model[2].weight.detach()
    before = x @ a.T
    hidden = before.clamp(min=0)
    logits = hidden @ b.T
    at_logits = (logits.softmax(1) - F.one_hot(y, 2)) / len(x)
    at_hidden = (at_logits @ b) * (before > 0)
    return at_hidden.T @ x, at_logits.T @ hidden


def images(n: int = 6, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Batches for `net()`: (n, 1, 9, 9) and labels."""
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(n, 1, 9, 9, generator=g), torch.randint(5, (n,), generator=g)) for _ in range(2)]


# The cross-entropy that is taken where no loss is given is computed in float32.
LOSSES = [(None, 1e-4, 1e-7), (F.cross_entropy, 1e-12, 1e-15)]


@pytest.mark.parametrize(("loss", "rtol", "atol"), LOSSES, ids=["of labels", "given"])
def test_taylor_is_its_formula_by_hand_on_two_layers(loss: Loss | None, rtol: float, atol: float) -> None:
    model, batches = two_layers(), two_batches()
    first, second = (by_hand(model, x, y) for x, y in batches)
    weights = [model[0].weight.detach(), model[2].weight.detach()]
    # sum over batches of n_b / N |w dL_b/dw|, with 5 samples of 8 in the first batch and 3 in the second.
    scores = [
        5 / 8 * (w * g).abs() + 3 / 8 * (w * h).abs() for w, g, h in zip(weights, first, second, strict=True)
    ]
    found = collect(model, get_criterion("taylor"), batches, loss)
    for w, score, known in zip(weights, scores, found, strict=True):
        torch.testing.assert_close(w.abs() * known["gradient_magnitude"], score, rtol=rtol, atol=atol)
    prune(model, 0.4, criterion="taylor", batches=batches, loss=loss)
    for number, mask in zip((0, 2), global_masks(scores, 8), strict=True):
        assert torch.equal(parametrization(model[number], Mask).mask, mask)


def test_snip_takes_the_gradient_of_all_samples_however_they_are_cut() -> None:
    model, batches = two_layers(), two_batches()
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    cut, uncut = (collect(model, get_criterion("snip"), b, F.cross_entropy) for b in (batches, [(x, y)]))
    for expected, known, whole in zip(by_hand(model, x, y), cut, uncut, strict=True):
        torch.testing.assert_close(known["gradient"], expected, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(whole["gradient"], expected, rtol=1e-12, atol=1e-15)


def test_a_loss_of_the_users_own_needs_no_labels() -> None:
    model, (x, _) = two_layers(), two_batches()[0]
    (known, _) = collect(model, get_criterion("snip"), [x], lambda outputs, targets: outputs.sum())
    slope = ((x @ model[0].weight.T > 0) * model[2].weight.sum(0)).T.double() @ x
    torch.testing.assert_close(known["gradient"], slope.detach(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"),
        nn.Conv2d(4, 8, 3, groups=2),
        nn.Conv2d(4, 4, 3, groups=4, padding=1),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.Linear(9, 3),
    ],
    ids=["strided", "reflected", "grouped", "depthwise", "transposed", "linear"],
)
def test_input_norms_are_those_of_what_a_weight_multiplies(layer: nn.Module) -> None:
    """A weight w alone gives the outputs w x: set to 1, all others to 0, they show its inputs."""
    x = torch.randn(2, 4, 8, 9, generator=torch.Generator().manual_seed(0))
    (known,) = collect(nn.Sequential(layer), get_criterion("wanda"), [x[:1], x[1:]])
    norms = known["input_norm"].expand(layer.weight.shape)
    layer.requires_grad_(False)
    layer.bias.zero_()
    for place in torch.randperm(layer.weight.numel(), generator=torch.Generator().manual_seed(1))[:25]:
        layer.weight.zero_().view(-1)[place] = 1.0
        torch.testing.assert_close(norms.reshape(-1)[place], layer(x).norm())


def test_wanda_is_weight_times_feature_norm() -> None:
    model, batches = two_layers(), two_batches()
    x = torch.cat([inputs for inputs, _ in batches])
    hidden = (x @ model[0].weight.T).clamp(min=0)
    scores = [model[0].weight.abs() * x.norm(dim=0), model[2].weight.abs() * hidden.norm(dim=0)]
    prune(model, 0.5, criterion="wanda", batches=[inputs for inputs, _ in batches])
    for number, mask in zip((0, 2), global_masks([s.detach() for s in scores], 10), strict=True):
        assert torch.equal(parametrization(model[number], Mask).mask, mask)


class Counting(nn.Module):
    """Counts its calls in a buffer, and drops by the global generator."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x * (torch.rand(()) + 0.5))


@pytest.mark.parametrize("name", MEASURING)
def test_the_model_and_the_callers_chance_are_left_alone(name: str) -> None:
    model = Counting(net()).train()
    model.inner[1].eval()
    model.inner[3].weight.requires_grad_(False)
    model.inner[0].weight.grad = torch.ones_like(model.inner[0].weight)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = {key: module.training for key, module in model.named_modules()}
    chance = torch.get_rng_state()
    first, second = (collect(model, get_criterion(name), images()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), chance)
    assert {key: module.training for key, module in model.named_modules()} == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [key for key, p in model.named_parameters() if p.grad is not None] == ["inner.0.weight"]
    assert not model.inner[3].weight.requires_grad
    assert bool((model.inner[0].weight.grad == 1).all())
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in get_criterion(name).needs - {"weight"})


def test_frozen_layers_have_gradients_too() -> None:
    free, frozen = net(), net()
    frozen.requires_grad_(False)
    for a, b in zip(*(collect(m, get_criterion("taylor"), images()) for m in (free, frozen)), strict=True):
        assert torch.equal(a["gradient_magnitude"], b["gradient_magnitude"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_float32(dtype: torch.dtype) -> None:
    model = net().to(dtype)
    found = collect(model, get_criterion("taylor"), [(x.to(dtype), y) for x, y in images()])
    exact = collect(
        copy.deepcopy(model).float(), get_criterion("taylor"), [(x.to(dtype), y) for x, y in images()]
    )
    assert {p.dtype for p in model.parameters()} == {dtype}
    for a, b in zip(found, exact, strict=True):
        assert torch.equal(a["gradient_magnitude"], b["gradient_magnitude"])


def test_a_loader_of_ours_goes_on_where_it_was() -> None:
    from pithnet.data import NORMALIZATIONS, load

    batches = Batches(load("digits", None, "test"), 500, NORMALIZATIONS["digits"], shuffle=True)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    collect(model, get_criterion("taylor"), batches)
    assert batches.epoch == 0


@pytest.mark.parametrize("name", MEASURING)
def test_what_is_gone_goes_first_and_what_may_come_back_is_ranked(name: str) -> None:
    model = net()
    prune(model, 0.3, criterion=name, batches=images())
    gone = ~parametrization(model[3], Mask).mask
    prune(model, 0.6, criterion=name, batches=images())
    assert not (parametrization(model[3], Mask).mask & gone).any()
    again = net()
    prune(again, 0.3, criterion=name, batches=images(), recoverable=True)
    with torch.no_grad():
        latent_weight(again[3])[gone] = 50.0
    prune(again, 0.3, criterion=name, batches=images())
    assert int((parametrization(again[3], Mask).mask & gone).sum()) > int(gone.sum()) / 2


def test_tied_weights_are_measured_where_they_stand() -> None:
    torch.manual_seed(0)
    a, b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    b.weight = a.weight
    x = torch.randn(4, 3)
    (known,) = collect(nn.Sequential(a, b), get_criterion("wanda"), [x])
    squares = x.square().sum(0) + a(x).square().sum(0)
    torch.testing.assert_close(known["input_norm"][0], squares.sqrt().detach())


def test_layers_of_an_encoder_have_inputs_though_torch_has_a_faster_way() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    skip = ("self_attn.*",)
    first, second = collect(encoder, get_criterion("wanda"), [torch.randn(3, 5, 8)], skip=skip)
    assert (first["input_norm"].shape, second["input_norm"].shape) == ((1, 8), (1, 16))


class Idle(nn.Module):
    """Two layers, the second of which takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def labelled(n: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(torch.ones(n, 3), torch.zeros(n, dtype=torch.int64))]


REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], type[Exception], str]] = {
    "no batches": (
        Idle,
        {"criterion": "taylor"},
        RecipeError,
        r"'taylor' needs batches with labels: give batches=",
    ),
    "no inputs": (Idle, {"criterion": "wanda"}, RecipeError, r"'wanda' needs batches: give batches="),
    "an empty loader": (Idle, {"criterion": "wanda", "batches": []}, DataError, "give batches= at least one"),
    "no labels": (
        Idle,
        {"criterion": "snip", "batches": [*labelled(), torch.ones(4, 3)]},
        DataError,
        r"'snip' needs labels, and batch 1 has none; yield \(x, y\), or give loss=",
    ),
    "labels out of range": (
        Idle,
        {"criterion": "snip", "batches": [(torch.ones(1, 3), torch.tensor([2]))]},
        DataError,
        "the model has 2 classes, and a label is 2",
    ),
    "no gradient": (
        Idle,
        {"criterion": "taylor", "batches": labelled()},
        ModelError,
        "'taylor': no gradient of the loss arrives at idle; add it to skip",
    ),
    "no call": (
        Idle,
        {"criterion": "wanda", "batches": labelled()},
        ModelError,
        "'wanda' needs the inputs of idle, which the network never calls; add it to skip",
    ),
    "a recurrent layer": (
        lambda: nn.LSTM(3, 2),
        {"criterion": "wanda", "batches": [torch.ones(4, 2, 3)]},
        ModelError,
        r"of weight_ih_l0 \(LSTM\) they are not known, only of linear layers and convolutions",
    ),
    "inputs that are infinite": (
        Idle,
        {"criterion": "wanda", "batches": [torch.full((1, 3), math.inf)], "skip": ("idle",)},
        ModelError,
        "'wanda': the input_norm of used holds NaN or inf",
    ),
    "no scalar": (
        Idle,
        {"criterion": "taylor", "batches": labelled(), "loss": lambda outputs, targets: outputs},
        DataError,
        r"loss\(outputs, targets\) must give a scalar tensor",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_refused_by_name_and_nothing_changes(case: str) -> None:
    build, options, error, message = REFUSED[case]
    model = build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        prune(model, 0.5, **options)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", MEASURING)
def test_gradual_pruning_looks_at_its_batches_at_every_update(name: str) -> None:
    model = net()
    schedule = GradualPruning(model, 0.7, ramp=0.5, updates=3, criterion=name, batches=images())
    zeros = []
    for step in range(7):
        schedule(step / 6)
        zeros.append(sum(row.zeros for row in schedule.record.layers))
    assert zeros[-1] == round(0.7 * 603)
    assert zeros == sorted(zeros)
    assert len(set(zeros)) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"criterion": "taylor"}, RecipeError, "'taylor' needs batches with labels"),
        ({"criterion": "taylor", "batches": iter(images())}, DataError, "must have a length and start anew"),
        ({"criterion": "snip", "batches": [torch.ones(2, 1, 9, 9)]}, DataError, "'snip' needs labels"),
        ({"granularity": "2:4"}, RecipeError, "'2:4' has one sparsity and cannot rise; prune at once"),
        ({"granularity": "filtre"}, RecipeError, r"unknown granularity 'filtre'. Did you mean filter\?"),
    ],
)
def test_gradual_pruning_refuses_at_the_start(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = net()
    with pytest.raises(error, match=message):
        GradualPruning(model, 0.5, ramp=0.5, **options)
    assert parametrization(model[0], Mask) is None


class Turned(nn.Module):
    """A linear layer whose weight is (inputs, outputs)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_matrices_of_registered_kinds_have_inputs_on_their_own_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))
    kinds.register_kind(Turned, channel_axis=1)
    x = torch.randn(4, 5, 3)
    (known,) = collect(nn.Sequential(Turned()), get_criterion("wanda"), [x])
    torch.testing.assert_close(known["input_norm"], x.flatten(0, 1).norm(dim=0)[:, None])
