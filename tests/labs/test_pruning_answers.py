"""What the page concludes, from rows that are made up: each conclusion when it holds, and only then."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pruning.cuts import Cut, equal_percentile
from pithnet.labs.pruning.experiment import EXPERIMENT
from pithnet.labs.pruning.sparsity import correlations, layer_rows
from pithnet.labs.training import zeros
from pithnet.run.progress import Quiet

from .files import answer, check_sentences

BY_DEVIATION = "Which layers become sparse under the standard deviation, and why?"
BY_RANKING = "Which layers become sparse under one ranking, and why?"


def book_of(folder: Path, rows: list[Row]) -> Notebook:
    book = Notebook(folder, {"lab": "pruning"}, progress=Quiet())
    for row in rows:
        book.row(row["item"], row["what"], row.copy)
    return book


def compared(*gains: tuple[float, float, float]) -> list[Row]:
    """Rows of item 2: a std row, and the percentile with its zeros that gains so many points (low, high)."""
    rows = []
    for i, (low, gain, high) in enumerate(gains):
        std = {"item": "2", "what": f"std s = {i}", "method": "std", "accuracy": 0.5}
        equal = {"item": "2", "what": f"equal {i}", "method": "percentile", "sparsity": 0.5}
        equal |= {"accuracy": 0.5 + gain / 100, "rival": f"std s = {i}", "rival_difference": gain}
        rows += [std, equal | {"rival_difference_low": low, "rival_difference_high": high}]
    return rows


@pytest.mark.parametrize(
    ("gains", "conclusion"),
    [
        (
            [(0.1, 1.0, 2.0), (-1.0, 0.2, 1.0)],
            "The percentile is the better threshold here: it is ahead in 2",
        ),
        ([(-2.0, -1.0, -0.1), (-1.0, 0.2, 1.0)], "The standard deviation is the better threshold here"),
        ([(-1.0, 0.2, 1.0)], "Neither threshold is better at every share of zeros"),
        ([(0.1, 1.0, 2.0), (-2.0, -1.0, -0.1)], "Neither threshold is better at every share of zeros"),
    ],
)
def test_the_better_threshold_is_said_only_where_the_intervals_say_so(
    tmp_path: Path, gains: list[tuple[float, float, float]], conclusion: str
) -> None:
    said = answer(EXPERIMENT, book_of(tmp_path, compared(*gains)), "Percentile or standard deviation?")
    assert said.startswith(conclusion)
    assert "a percentile is the share of zeros itself, so one chooses the sparsity" in said
    check_sentences(said)


def network(tails: bool) -> nn.Sequential:
    """Four layers; with `tails` their shape differs and their width not, else the other way round."""
    model = nn.Sequential(*(nn.Linear(50, 40) for _ in range(4)))
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for i, layer in enumerate(model, 1):
            w = torch.randn(40, 50, generator=g).double()
            w = w.sign() * w.abs() ** (i if tails else 1)
            layer.weight.copy_(w / w.std() * (0.1 if tails else 0.1 * 2**i))  # type: ignore[operator,union-attr]
    return model


def test_heavy_tails_are_named_where_they_decide(tmp_path: Path) -> None:
    """Of powers 1 to 4 of normal weights more and more lies within a standard deviation: 68 to 90 %."""
    start = network(tails=True)
    pruned = layer_rows(Cut("std", 1.0).of(start), start)
    assert [r["sparsity"] for r in pruned] == sorted(r["sparsity"] for r in pruned)
    assert pruned[0]["sparsity"] == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.04)
    assert correlations(pruned)["kurtosis"] == pytest.approx(1)
    row = {"item": "2", "what": "std s = 1", "method": "std", "value": 1.0, "layers": pruned}
    said = answer(EXPERIMENT, book_of(tmp_path, [row]), BY_DEVIATION)
    assert "with their kurtosis +1.00" in said
    assert "The kurtosis explains it, and neither how wide" in said
    assert "item 5, not measured here, would show" in said
    assert "a normal distribution loses 68.27 %, Laplace's, which has heavier tails, 75.69 %" in said
    check_sentences(said)


def test_small_weights_are_named_where_one_threshold_decides(tmp_path: Path) -> None:
    start = network(tails=False)
    weights = torch.cat([layer.weight.detach().flatten() for layer in start])  # type: ignore[misc]
    threshold = float(weights.abs().median())
    pruned = network(tails=False)
    with torch.no_grad():
        for layer in pruned:
            layer.weight[layer.weight.abs() <= threshold] = 0  # type: ignore[index,union-attr,operator]
    row: Row = {
        "item": "5",
        "what": "iterative, global",
        "sparsity": 0.5,
        "layers": layer_rows(pruned, start),
    }
    assert correlations(row["layers"])["standard deviation"] == pytest.approx(-1)
    said = answer(EXPERIMENT, book_of(tmp_path, [row]), BY_RANKING)
    assert "The width explains it, and not the shape." in said
    assert "there is one threshold for all layers" in said
    check_sentences(said)


def test_a_percentile_has_the_very_zeros_of_a_deviation() -> None:
    start = network(tails=True)
    for s in (0.25, 0.5, 1.0):
        cut = Cut("std", s)
        equal = equal_percentile(start, cut)
        assert equal.what == f"percentile with the zeros of std s = {s:g}"
        assert zeros(equal.of(start)) == zeros(cut.of(start)) > 0
        found = [r["zeros"] for r in layer_rows(equal.of(start), start)]
        assert max(found) - min(found) <= 1
