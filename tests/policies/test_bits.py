"""Bits per layer: sensitivities without labels, and the best choice within a budget."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from passes.networks import SIZES, TOTAL, net
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.passes import average_bits, quantize
from pithnet.policies import allocate_bits, divergence, sensitivity
from pithnet.policies.knapsack import cheapest_choices

IMAGES = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
WIDTHS = (2, 4, 8)


@pytest.mark.parametrize("measure", ["kl", "mse"])
def test_fewer_bits_harm_more_and_the_model_stays(measure: str) -> None:
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = sensitivity(model, IMAGES, widths=WIDTHS, measure=measure, quantizer="dynamic")
    assert list(found) == list(SIZES)
    for harms in found.values():
        assert harms[0] > harms[1] > harms[2] >= 0
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_sensitivity_is_the_divergence_of_the_answers() -> None:
    model = net().eval()
    found = sensitivity(model, IMAGES, widths=(2,), fit="range")
    other = net().eval()
    quantize(other, None, overrides={"3": 2}, fit="range")
    with torch.no_grad():
        p, q = model(IMAGES).log_softmax(1), other(IMAGES).log_softmax(1)
    assert found["3"][0] == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)


class Shuffled:
    """Batches in another order every time."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[Tensor]:
        self.passes += 1
        order = torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(self.passes))
        return iter(IMAGES[order].split(20))


@pytest.mark.parametrize("measure", ["kl", "mse"])
def test_answers_to_the_same_image_are_compared(measure: str) -> None:
    model, images = net(), Shuffled()
    assert divergence(model, model, images, measure) == 0
    assert images.passes == 1
    found = sensitivity(model, images, widths=(2, 8), measure=measure)
    assert images.passes == 2
    once = sensitivity(model, iter(IMAGES.split(20)), widths=(2, 8), measure=measure)
    for name, harms in sensitivity(model, IMAGES, widths=(2, 8), measure=measure).items():
        assert found[name] == pytest.approx(harms, rel=1e-3)
        assert once[name] == pytest.approx(harms, rel=1e-3)


@pytest.mark.parametrize(
    ("last", "shape"), [(nn.Linear(72, 1), r"\(60, 1\)"), (nn.Unflatten(1, (8, 9)), r"\(60, 8, 9\)")]
)
def test_kl_is_of_class_logits_alone(last: nn.Module, shape: str) -> None:
    model = nn.Sequential(*net()[:6], last)
    for call in (
        lambda m: sensitivity(model, IMAGES, measure=m),
        lambda m: divergence(model, model, IMAGES, m),
    ):
        with pytest.raises(ModelError, match=rf'{shape}; use measure="mse"'):
            call("kl")
        assert call("mse") is not None
    assert min(harms[0] for harms in sensitivity(model, IMAGES, measure="mse").values()) > 0


def test_what_quantize_would_refuse_can_be_skipped() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            lstm = nn.LSTM(8, 6, batch_first=True)
            self.lstm, self.head = weight_norm(lstm, "weight_hh_l0"), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.lstm(x[:, 0])[0][:, -1])
            return out

    with pytest.raises(ModelError, match=r"lstm\.weight_hh_l0 with a _WeightNorm parametrization cannot"):
        sensitivity(Recurrent(), IMAGES)
    assert list(sensitivity(Recurrent(), IMAGES, skip=["lstm"])) == ["head"]


@pytest.mark.parametrize("budget", [2.0, 2.4, 3.0, 5.0, 7.9, 8.0])
def test_a_budget_is_kept_and_no_choice_within_it_is_better(budget: float) -> None:
    model = net()
    found = sensitivity(model, IMAGES, widths=WIDTHS)
    bits = allocate_bits(model, found, widths=WIDTHS, average_bits=budget)
    quantize(model, None, overrides=bits, fit="range")
    assert average_bits(model) <= budget + 1e-9

    def harm(choice: tuple[int, ...]) -> float:
        return sum(found[name][WIDTHS.index(b)] for name, b in zip(SIZES, choice, strict=True))

    def spent(choice: tuple[int, ...]) -> int:
        return sum(n * b for n, b in zip(SIZES.values(), choice, strict=True))

    allowed = [c for c in product(WIDTHS, repeat=3) if spent(c) <= budget * TOTAL + 1e-6]
    assert harm(tuple(bits.values())) == pytest.approx(min(map(harm, allowed)))


def test_layers_without_a_sensitivity_count_with_32_bits() -> None:
    model = net()
    found = sensitivity(model, IMAGES, widths=WIDTHS, skip=("0",))
    bits = allocate_bits(model, found, widths=WIDTHS, average_bits=5.0)
    assert set(bits) == {"3", "6"}
    quantize(model, None, overrides=bits, fit="range")
    assert average_bits(model) <= 5.0
    by_size = allocate_bits(model, found, widths=WIDTHS, size=(216 * 8 + 360 * 2) // 8)
    assert sum(SIZES[name] * b for name, b in by_size.items()) <= 216 * 8 + 360 * 2


def test_a_knapsack_is_exact_and_rounds_up_where_units_are_many() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.random((4, 3)).tolist()
        prices = np.sort(rng.integers(1, 60, (4, 3)), axis=1).tolist()
        budget = int(sum(row[0] for row in prices) + rng.integers(0, 80))
        found = cheapest_choices(costs, prices, budget)
        allowed = [
            c
            for c in product(range(3), repeat=4)
            if sum(p[i] for p, i in zip(prices, c, strict=True)) <= budget
        ]
        best = min(sum(row[i] for row, i in zip(costs, c, strict=True)) for c in allowed)
        assert sum(p[i] for p, i in zip(prices, found, strict=True)) <= budget
        assert sum(row[i] for row, i in zip(costs, found, strict=True)) == pytest.approx(best)
    large = [[3_000_001, 9_000_007], [5_000_011, 7_000_003]]
    assert cheapest_choices([[1, 0], [5, 0]], large, 10_000_100) == [0, 1]


def test_other_widths_than_those_of_the_sensitivities_are_refused() -> None:
    harm = dict.fromkeys(SIZES, (1.0, 0.5, 0.1))
    with pytest.raises(RecipeError, match="0 has 3 sensitivities and there are 7 widths; give the same"):
        allocate_bits(net(), harm, average_bits=4.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one budget"),
        ({"average_bits": 4.0, "size": 100}, "give one budget"),
        ({"average_bits": 1.5}, "the least that can be spent is 1206"),
        ({"size": 10}, "budget is 80, and the least that can be spent"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(arguments: dict[str, float], message: str) -> None:
    harm = dict.fromkeys(SIZES, (1.0, 0.5, 0.1))
    with pytest.raises(RecipeError, match=message):
        allocate_bits(net(), harm, widths=WIDTHS, **arguments)  # type: ignore[arg-type]


def test_sensitivities_need_images_and_known_measures() -> None:
    with pytest.raises(DataError, match="no calibration images"):
        sensitivity(net(), None)
    with pytest.raises(RecipeError, match="unknown measure 'kld'"):
        sensitivity(net(), IMAGES, measure="kld")
    with pytest.raises(RecipeError, match="not 12"):
        sensitivity(net(), IMAGES, widths=(4, 12))
    assert isinstance(net(), nn.Module)
