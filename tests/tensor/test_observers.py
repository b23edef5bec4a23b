"""Observers: known ranges on known distributions, streaming, and memory that stays flat."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor.observers import OBSERVERS, Observer, get_observer

HISTOGRAMS = ["percentile", "mse", "entropy"]


def normal(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def watched(name: str, *batches: Tensor, bits: int = 8) -> Observer:
    observer = get_observer(name, bits)
    for batch in batches:
        observer.observe(batch)
    return observer


def mse(x: Tensor, low: float, high: float, bits: int) -> float:
    step = (high - low) / (2**bits - 1)
    zero = round(-low / step)
    codes = ((x / step).round() + zero).clamp(0, 2**bits - 1)
    return float(((codes - zero) * step - x).square().mean())


def size(observer: Observer) -> int:
    """Numbers an observer holds."""
    return sum(v.numel() if isinstance(v, Tensor) else 1 for v in vars(observer).values())


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_memory_is_flat_and_order_does_not_matter_much(name: str) -> None:
    batches = [normal(500, seed) for seed in range(100)]
    few, many = watched(name, *batches[:2]), watched(name, *batches)
    assert size(few) == size(many) <= 5000
    backwards = watched(name, *batches[::-1])
    spread = many.range()[1] - many.range()[0]
    for end, other in zip(many.range(), backwards.range(), strict=True):
        assert abs(end - other) < (0.1 if name == "moving-average" else 0.03) * spread


@pytest.mark.parametrize("name", sorted(set(OBSERVERS) - {"moving-average"}))
def test_batches_seen_one_by_one_are_seen_as_one(name: str) -> None:
    x = normal(20_000).relu()
    together = watched(name, x)
    apart = watched(name, *x.split(1000))
    low, high = together.range()
    assert low == 0
    assert apart.range()[1] == pytest.approx(high, rel=0.03)


def test_min_max_is_the_range() -> None:
    assert watched("min-max", torch.tensor([1.0, -2.0]), torch.tensor([[7.0], [0.0]])).range() == (-2, 7)


def test_a_moving_average_follows_the_batches() -> None:
    observer = watched("moving-average", torch.tensor([0.0, 10.0]), torch.tensor([-1.0, 20.0]))
    assert observer.range() == (pytest.approx(-0.1), pytest.approx(11.0))


def test_a_percentile_cuts_one_in_ten_thousand() -> None:
    x = normal(1_000_000)
    low, high = watched("percentile", x).range()
    assert (x > high).sum() + (x < low).sum() == pytest.approx(100, abs=25)
    one_sided = x.abs()
    low, high = watched("percentile", one_sided).range()
    assert low == 0
    assert (one_sided > high).sum() == pytest.approx(100, abs=25)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("one_sided", [True, False])
def test_mse_finds_the_range_of_least_error(bits: int, one_sided: bool) -> None:
    x = normal(50_000) + 0.3
    x = x.relu() if one_sided else x
    found = mse(x, *watched("mse", x, bits=bits).range(), bits)
    widest = mse(x, float(x.clamp(max=0).min()), float(x.max()), bits)
    assert found <= widest * 1.001
    low, high = float(x.clamp(max=0).min()), float(x.max())
    best = min(mse(x, low * a, high * b, bits) for a in (0.4, 0.6, 0.8, 1) for b in (0.4, 0.6, 0.8, 1))
    assert found <= best * 1.02
    if bits == 4:
        assert found < 0.8 * widest


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_an_outlier_widens_min_max_and_not_the_histograms(name: str) -> None:
    x = torch.cat([normal(100_000).relu(), torch.tensor([80.0])])
    assert watched("min-max", x).range()[1] == 80
    # 8 bits over 80 would leave 16 steps to what is not the outlier.
    assert watched(name, x, bits=4).range()[1] < 40


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_a_histogram_widens_without_losing_a_count(name: str) -> None:
    observer = watched(name, torch.tensor([1e-3, -2e-4]), normal(1000), 900 * normal(1000))
    counts = observer.counts  # type: ignore[attr-defined]
    assert int(counts.sum()) == 2002
    assert observer.reach >= observer.highest  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_zeros_first_do_not_spoil_a_histogram(name: str) -> None:
    low, high = watched(name, torch.zeros(100), torch.linspace(0, 1, 1001)).range()
    assert low == 0
    assert 0.9 < high <= 1.001


def test_entropy_keeps_a_uniform_range_and_clips_a_long_tail() -> None:
    assert watched("entropy", torch.linspace(0, 1, 100_001)).range()[1] > 0.95
    tail = normal(200_000).abs().exp()
    assert watched("entropy", tail).range()[1] < 0.9 * float(tail.max())


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(name: str, bad: float) -> None:
    with pytest.raises(ModelError, match=r"1 of 3 activations are NaN or inf"):
        watched(name, torch.tensor([1.0, bad, 2.0]))


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_nothing_seen_is_no_range(name: str) -> None:
    with pytest.raises(ModelError, match="no activations have been seen"):
        watched(name, torch.zeros(0)).range()


def test_an_unknown_observer_is_named() -> None:
    with pytest.raises(RecipeError, match=r"'minmax'. Did you mean min-max"):
        get_observer("minmax")
