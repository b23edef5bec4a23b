"""Budgets are kept, by the channels that score lowest, and what cannot be done is refused before any cut."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pithnet as pn
from pithnet import ModelError, RecipeError
from pithnet.passes import ShrinkPlan
from tests.surgery.channels.laws import shrunk
from tests.surgery.channels.networks import NAMES, TOYS, Toy, built, concat, conv, ending, outputs

X = torch.randn(1, 3, 8, 8)


def chain(*widths: int) -> nn.Sequential:
    """Convolutions of these widths, each with a BN, between an image and five scores."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for c_in, c_out in zip((3, *widths), widths, strict=False):
        layers += [conv(c_in, c_out, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 5)).eval()


@pytest.mark.parametrize(
    ("name", "scope"), [*((name, "global") for name in NAMES), *((name, "uniform") for name in TOYS)]
)
def test_plans_count_what_the_cut_network_costs(name: str, scope: str) -> None:
    model, inputs = built(name)
    full = pn.costs(model, inputs)
    plan = pn.plan_shrink(model, inputs, parameters=0.7, scope=scope, round_to=1, floor=0)
    small = plan.cut()
    costs = pn.costs(small, inputs)
    assert (plan.full_macs, plan.full_parameters) == (full.macs, full.parameters)
    assert (plan.macs, plan.parameters) == (costs.macs, costs.parameters)
    assert plan.parameters <= 0.7 * full.parameters
    expected = outputs(plan.mask(), inputs)
    assert (outputs(small, inputs) - expected).abs().max() <= 1e-9 * expected.abs().max()


PADDED = ("layer2.0", "layer3.0")


def test_global_ranks_filters_by_their_mean_magnitude() -> None:
    model = chain(12, 20)
    plan = pn.plan_shrink(model, X, macs=0.5, round_to=1, floor=0)
    # The same without pithnet: filters of both layers in one list, the least go.
    filters = sorted(
        (float(w.detach().abs().mean()), layer, place)
        for layer in (0, 3)
        for place, w in enumerate(model[layer].weight)
    )
    kept = {0: list(range(12)), 3: list(range(20))}
    for _, layer, place in filters:
        a, b = len(kept[0]), len(kept[3])
        if 64 * 9 * (3 * a + a * b) + 5 * b <= plan.full_macs / 2:
            break
        kept[layer].remove(place)
    assert plan.widths == {"0": len(kept[0]), "3": len(kept[3]), "8": 5}
    small = plan.cut()
    assert torch.equal(small[0].weight, model[0].weight[kept[0]])
    assert torch.equal(small[3].weight, model[3].weight[kept[3]][:, kept[0]])


def test_channels_that_go_together_are_ranked_by_all_their_filters() -> None:
    torch.manual_seed(0)
    model = Toy(
        lambda m, x: m.out(ending(m.a(x) + m.b(x))), a=conv(3, 8), b=nn.Conv2d(3, 8, 1), out=nn.Linear(8, 5)
    )
    for criterion, power in (("l1", 1), ("l2", 2)):
        plan = pn.plan_shrink(model, X, rates={"a": 0.5}, criterion=criterion, round_to=1)
        both = torch.cat([model.a.weight.flatten(1), model.b.weight.flatten(1)], 1)
        kept = both.abs().pow(power).mean(1).argsort()[4:].sort().values
        small = plan.cut()
        assert torch.equal(small.a.weight, model.a.weight[kept])
        assert torch.equal(small.b.bias, model.b.bias[kept])


def restored_steps(plan: ShrinkPlan, name: str) -> list[int]:
    """What the network would have of `name` if one group that lost channels got eight of them back."""
    widths = {next(iter(row.layers)): row for row in plan.rows}
    found = []
    for layer, row in widths.items():
        if row.kept < row.width:
            rates = {key: r.kept / r.width for key, r in widths.items() if not r.whole}
            rates[layer] = min(row.kept + 8, row.width) / row.width
            found.append(getattr(pn.plan_shrink(plan.model, plan.example, rates=rates, floor=0), name))
    return found


@pytest.mark.parametrize("name", ["macs", "parameters"])
def test_global_ends_within_one_step_below_the_budget(name: str) -> None:
    model = chain(24, 32, 20)
    for share in (0.9, 0.61, 0.4, 0.25):
        plan = pn.plan_shrink(model, X, **{name: share})
        budget = share * getattr(plan, f"full_{name}")
        assert getattr(plan, name) <= budget < min(restored_steps(plan, name))
        assert all(row.kept == row.width or row.kept % 8 == 0 for row in plan.rows)


def test_uniform_takes_the_largest_share_that_fits() -> None:
    model = chain(16, 40)
    plan = pn.plan_shrink(model, X, macs=0.5, scope="uniform", round_to=4)
    shares = sorted({k / w for w in (16, 40) for k in range(4, w + 1, 4)})
    widths = [{"0": int(s * 16 / 4) * 4, "3": int(s * 40 / 4) * 4} for s in shares]
    costs = [64 * 9 * (3 * w["0"] + w["0"] * w["3"]) + 5 * w["3"] for w in widths]
    best = max(n for n, cost in enumerate(costs) if cost <= plan.full_macs / 2)
    assert plan.widths == {**widths[best], "8": 5}


def test_whole_numbers_are_absolute_and_shares_are_of_the_float_network() -> None:
    model = chain(16, 24)
    full = pn.costs(model, X).macs
    assert pn.plan_shrink(model, X, macs=full // 2).widths == pn.plan_shrink(model, X, macs=0.5).widths
    assert not pn.plan_shrink(model, X, macs=1.0).removed
    assert not pn.plan_shrink(model, X, macs=1).removed


def numbers(model: nn.Module) -> int:
    """A weight in which every channel counts, also the first norm's alone."""
    return 100 + sum(value.numel() for value in model.state_dict().values())


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_bytes_are_those_of_the_smaller_file(scope: str) -> None:
    model = chain(24, 20)
    settings: dict[str, Any] = {"scope": scope, "round_to": 4}
    whole = pn.plan_shrink(model, X, bytes=1.0, **settings)
    assert whole.bytes == whole.full_bytes == len(pn.encode(pn.finalize(model)))
    plan = pn.plan_shrink(model, X, bytes=0.6, **settings)
    assert plan.bytes == len(pn.encode(pn.finalize(plan.cut()))) <= 0.6 * whole.bytes
    assert pn.plan_shrink(model, X, bytes=plan.bytes, **settings).widths == plan.widths
    with pytest.raises(RecipeError, match=r"bytes=0\.01 cannot be kept: with every layer at its least width"):
        pn.plan_shrink(model, X, bytes=0.01, **settings)


def test_no_larger_network_of_the_search_keeps_a_budget_of_bytes() -> None:
    model = chain(6, 4)
    settings: dict[str, Any] = {"scope": "uniform", "round_to": 1, "floor": 0}
    shares = sorted({k / w for w in (6, 4) for k in range(1, w + 1)})
    rates = [{"0": max(int(s * 6), 1) / 6, "3": max(int(s * 4), 1) / 4} for s in shares]
    sizes = sorted({numbers(pn.shrink(model, X, rates=r, round_to=1, floor=0)) for r in rates})
    for budget in (sizes[1], sizes[3] + 3, sizes[-1] - 1):
        plan = pn.plan_shrink(model, X, bytes=budget, weigh=numbers, **settings)
        assert plan.bytes == max(size for size in sizes if size <= budget)


def test_narrow_groups_stay_whole_and_floors_hold() -> None:
    model = chain(8, 64)
    plan = pn.plan_shrink(model, X, macs=0.6, floor=0.45)
    assert plan.rows[0].whole == "no wider than 8, which round_to asks for"
    assert plan.widths == {"0": 8, "3": 32, "8": 5}
    with pytest.raises(RecipeError, match=r"macs=0\.2 cannot be kept: with every layer at its least width"):
        pn.plan_shrink(model, X, macs=0.2, floor=0.45)


def test_random_is_another_choice_for_each_seed() -> None:
    model = chain(64)
    plans = [pn.plan_shrink(model, X, macs=0.5, criterion="random", seed=seed) for seed in (0, 0, 1)]
    assert plans[0].removed == plans[1].removed != plans[2].removed
    assert plans[0].widths == plans[2].widths


def test_a_plan_can_be_printed_and_read_by_machines() -> None:
    plan = pn.plan_shrink(pn.zoo.build("resnet20"), torch.randn(1, 3, 32, 32), macs=0.5)
    lines = str(plan).splitlines()
    assert lines[-3].startswith(f"MACs: {plan.full_macs:,} -> {plan.macs:,} (")
    assert any(line.startswith("conv1, layer1.0.conv2 and 8 more") for line in lines)
    assert any(line.endswith("it is an output of the network") for line in lines)
    content = json.loads(plan.to_json())
    cut = plan.cut()
    zeros = {f"{layer}.shortcut.before": cut.get_submodule(f"{layer}.shortcut").before for layer in PADDED}
    widths = {**plan.widths, **zeros}
    assert content == {"widths": widths, "macs": plan.macs, "parameters": plan.parameters}
    assert pn.zoo.build("resnet20", widths=content["widths"]).architecture == cut.architecture
    with pytest.raises(AttributeError):
        plan.macs = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        plan.widths["conv1"] = 1  # type: ignore[index]


def test_masks_and_codebooks_go_along() -> None:
    model = chain(16, 24).double()
    pn.prune(model, sparsity=0.5, skip=("8",))
    pn.share(model, bits=3, skip=("0", "8"))
    plan = pn.plan_shrink(model, X.double(), macs=0.5, floor=0)
    small = plan.cut()
    assert float((small[0].weight == 0).double().mean()) > 0.2
    assert set(small[3].weight.unique().tolist()) <= set(model[3].weight.unique().tolist())
    assert (small(X.double()) - plan.mask()(X.double())).abs().max() <= 1e-9
    assert small[3].parametrizations.weight[0].index.shape == small[3].weight.shape
    small.train()(torch.randn(2, 3, 8, 8).double()).sum().backward()
    torch.optim.SGD(small.parameters(), 0.1).step()
    assert len(small[3].weight.unique()) <= 9


def test_quantizers_of_groups_are_refused_by_name() -> None:
    model = chain(16, 24)
    pn.quantize(model, bits=4, granularity="group", group_size=8)
    with pytest.raises(ModelError, match=r"0\.weight is under a FakeQuantizer, .* add '0' to skip"):
        pn.plan_shrink(model, X, macs=0.5)


@pytest.mark.parametrize(
    ("granularity", "fit", "quantizer", "activations"),
    [
        ("channel", "mse", "linear", 8),
        ("tensor", "mse", "linear", None),
        ("channel", "range", "linear", None),
        ("channel", "mse", "lsq", None),
        ("channel", "mse", "dynamic", None),
    ],
)
def test_quantizers_go_along(granularity: str, fit: str, quantizer: str, activations: int | None) -> None:
    model = chain(16, 24).double()
    more = {"activations": activations, "calibrate": torch.randn(8, 3, 8, 8).double()} if activations else {}
    pn.prune(model, sparsity=0.3)
    pn.quantize(model, bits=4, granularity=granularity, fit=fit, quantizer=quantizer, **more)
    plan = pn.plan_shrink(model, X.double(), macs=0.5, floor=0)
    small, full = plan.cut(), plan.mask()
    assert plan.widths["3"] < 24
    assert (small(X.double()) - full(X.double())).abs().max() <= 1e-9
    kept = plan.channels.kept_outputs("3", plan.removed)
    read = plan.channels.kept_outputs("0", plan.removed)
    assert torch.equal(small[3].weight, full[3].weight[kept][:, read])
    small.train()(X.double()).sum().backward()
    assert all(p.grad is not None for p in small.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal"])
def test_what_is_under_a_parametrization_of_others_stays_and_is_named(name: str, tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 10), nn.Linear(10, 5)
    ).double()
    getattr(torch.nn.utils.parametrizations, name)(model[4])
    x = torch.randn(3, 8).double()
    plan = pn.plan_shrink(model.eval(), x, rates={"0": 0.5}, round_to=1)
    small = plan.cut()
    assert (small(x) - plan.mask()(x)).abs().max() <= 1e-9
    pn.save_state(small, tmp_path / "x.pt")
    assert pn.plan_shrink(pn.finalize(model), x, rates={"2": 0.5}, round_to=1).widths["2"] == 6
    whole = {layer: row.whole for row in plan.rows for layer in row.layers}
    assert whole["0"] is None
    for layer in ("2", "4"):
        assert whole[layer] is not None
        assert whole[layer].startswith("4.weight is under ")
        assert whole[layer].endswith(
            "cannot lose channels: take it off before, with "
            "torch.nn.utils.parametrize.remove_parametrizations or by pn.finalize"
        )


class Tied(nn.Module):
    """A weight that is used both ways, by functions alone or by a layer and a function."""

    def __init__(self, by_layer: bool = False) -> None:
        super().__init__()
        self.e, self.h, self.o = nn.Linear(12, 32, bias=False), nn.Linear(12, 24), nn.Linear(24, 3)
        self.by_layer = by_layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.e(x) if self.by_layer else F.linear(x, self.e.weight)
        return self.o(F.relu(self.h(F.linear(F.relu(y), self.e.weight.t()))))


@pytest.mark.parametrize("by_layer", [True, False])
def test_a_weight_that_is_used_both_ways_is_counted_in_both(by_layer: bool) -> None:
    x = torch.randn(4, 12).double()
    plan = shrunk(lambda: Tied(by_layer), x, rates={"e" if by_layer else "e.weight": 0.5})
    assert plan.widths["e" if by_layer else "e.weight"] == 16
    assert plan.full_macs == pn.costs(Tied(by_layer).double(), x).macs
    assert not plan.in_full


def test_a_network_of_functions_alone_none_of_which_can_lose_channels_is_refused_by_name() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.rand(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.w @ self.w)

    with pytest.raises(ModelError, match="no layer of Scale can lose channels"):
        pn.plan_shrink(Scale(), torch.randn(2, 4), macs=0.5)


def dividing_by(divisor: Callable[[Tensor], int]) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.out(ending(m.b(x / divisor(x))))

    return Toy(forward, a=conv(3, 16), b=conv(16, 8), out=nn.Linear(8, 5))


def squeezed() -> nn.Module:
    return Toy(lambda m, x: m.out(m.a(x).mean((2, 3)).squeeze()), a=conv(3, 2), out=nn.Linear(2, 5))


def test_what_a_forward_makes_of_its_sizes_is_refused_by_name() -> None:
    by_width = dividing_by(lambda x: x.size(1))
    with pytest.raises(ModelError, match=r"\(a: truediv computes with the number of channels"):
        pn.plan_shrink(by_width, X, rates={"a": 0.5})
    plan = pn.plan_shrink(dividing_by(lambda x: x[0].numel()), X, rates={"a": 0.5})
    with pytest.raises(ModelError, match=r"without the channels b gives other numbers .* skip=\['b'\]"):
        plan.cut()
    two = torch.randn(2, 3, 8, 8)
    with pytest.raises(ModelError, match="the network without the channels stops after a: "):
        pn.shrink(squeezed(), two, rates={"a": 0.5}, round_to=1)


def test_unknown_operations_and_built_in_places_keep_their_channels() -> None:
    model, inputs = built("unknown_operation")
    reasons = {
        next(iter(r.layers)): r.whole for r in pn.plan_shrink(model, inputs, macs=0.9, round_to=1).rows
    }
    assert reasons["a"] is None
    assert reasons["b"] == "fft_fft2 is an operation that no rule is known for"
    fixed = Toy(lambda m, x: m.out(ending(m.a(x)[:, ::2])), a=conv(3, 8), out=nn.Linear(4, 5))
    with pytest.raises(ModelError, match=r"no layer of Toy can lose channels .*a: getitem picks channels by"):
        pn.plan_shrink(fixed, X, macs=0.5, round_to=1)


def test_channels_that_mirror_others_stay() -> None:
    def mirrored(amounts: tuple[int, int], mode: str) -> str | None:
        model = Toy(
            lambda m, x: m.out(F.pad(m.a(x).flatten(2).mT, amounts, mode=mode).mean(1)),
            a=conv(3, 8), out=nn.Linear(8 + sum(amounts), 5),
        )  # fmt: skip
        channels = pn.surgery.find_channels(model, X)
        return channels.groups_of("a")[0].frozen

    assert mirrored((1, 1), "reflect") == "pad adds channels by numbers that are built in"
    assert mirrored((0, -2), "constant") == "pad takes channels off by numbers that are built in"
    assert mirrored((1, 2), "constant") is None


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = conv(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        (chain(16), {}, RecipeError, "give one of macs, parameters, bytes and rates, .* none of them"),
        (chain(16), {"macs": 0.5, "rates": {}}, RecipeError, "given: macs and rates"),
        *(
            (chain(16), {"macs": bad}, RecipeError, "macs is a share above 0 and up to 1, or a whole")
            for bad in (0, -1, 1.5, float("nan"), float("inf"), True, "0.5")
        ),
        *(
            (chain(16), {"rates": bad}, RecipeError, "rates is a table {layer: share that it keeps}, not")
            for bad in (0.5, ["0"])
        ),
        (chain(16), {"rates": {0: 0.5}}, RecipeError, "unknown layer with channels in rates 0"),
        (chain(16), {"macs": 0.001}, RecipeError, r"macs=0\.001 cannot be kept"),
        (chain(16), {"rates": {"1": 0.5}}, RecipeError, "unknown layer with channels in rates '1'"),
        (chain(16), {"rates": {"5": 0.5}}, RecipeError, "5 cannot lose channels: it is an output"),
        (chain(16), {"rates": {"0": 1.5}}, RecipeError, "rates: 0 keeps a share above 0"),
        (chain(16), {"macs": 0.5, "criterion": "l3"}, RecipeError, "unknown criterion 'l3'. Known: fpgm, l1"),
        (chain(16), {"macs": 0.5, "scope": "globe"}, RecipeError, "unknown scope 'globe'. Did you mean g"),
        (chain(16), {"macs": 0.5, "criterion": None}, RecipeError, "unknown criterion None. Known: fpgm"),
        *(
            (chain(16), {"macs": 0.5, "round_to": bad}, RecipeError, "round_to is a whole number")
            for bad in (0, True, 1.5, "8")
        ),
        *(
            (chain(16), {"macs": 0.5, "floor": bad}, RecipeError, "floor is the share")
            for bad in (2, float("nan"), "0.1")
        ),
        (chain(16), {"macs": 0.5, "skip": "0"}, RecipeError, r"skip is a list of patterns.*skip=\['0'\]"),
        (chain(16), {"macs": 0.5, "skip": ("x",)}, RecipeError, "skip: 'x' matches no layer"),
        (chain(16), {"macs": 0.5, "skip": ("0",)}, ModelError, "can lose channels .0: 0 is skipped"),
        (Branching(), {"macs": 0.5}, ModelError, "removing channels follows the forward of Branching"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_any_cut(
    model: nn.Module, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        pn.plan_shrink(model, X, **settings)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_rates_that_contradict_each_other() -> None:
    model = Toy(
        lambda m, x: m.out(ending(m.a(x) + m.b(x))), a=conv(3, 16), b=conv(3, 16), out=nn.Linear(16, 5)
    )
    with pytest.raises(RecipeError, match=r"a keeps 0\.5 and b keeps 0\.75 of channels that go together"):
        pn.plan_shrink(model, X, rates={"a": 0.5, "b": 0.75})


def test_nan_is_refused() -> None:
    model = concat()
    model.b.weight.data[0] = torch.nan
    with pytest.raises(ModelError, match=r"b\.weight holds NaN or inf"):
        pn.plan_shrink(model, X, macs=0.5, round_to=1)
