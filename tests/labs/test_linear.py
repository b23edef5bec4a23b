"""One quick run; the known values of three points, by another program too; recovery over twenty designs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pithnet.errors import PithError
from pithnet.labs import LabOptions
from pithnet.labs.linear import experiment as linear
from pithnet.labs.linear.design import Design, group_strength, universal_strength
from pithnet.labs.linear.points import DATA, METHODS, Method, Walk, exact_solutions, points
from pithnet.labs.linear.recovery import entrants, recovery
from pithnet.labs.notebook import Notebook
from pithnet.run.progress import Quiet

from .files import answers, check_page, check_png, check_sentences, read_csv, read_results

X = np.array([[1, -2, -1, -1, 1], [2, -1, 2, 0, -2], [-1, 0, 2, 2, 1]], dtype=float)
Y = np.array([7, 1, 1], dtype=float)
SPARSE = [0, -3, 0, 0, 1]


@pytest.fixture(scope="module")
def out(linear_lab: Path) -> Path:
    return linear_lab


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    return read_results(out)


def rows(results: dict[str, Any], data: str, method: str | None = None) -> list[dict[str, Any]]:
    return [r for r in results["rows"] if r["data"] == data and method in (None, r["method"])]


def in_numpy(data: str, method: Method) -> NDArray[np.float64]:
    """The path of the method, written down once more from the assignment."""
    x, y = (X[:2], Y[:2]) if data == "two" else (X, -Y if data == "three-negated" else Y)
    w, path = np.zeros(5), [np.zeros(5)]
    for _ in range(200):
        g = w - 2 * 0.02 * x.T @ (x @ w - y)
        order = np.argsort(-np.abs(g), kind="stable")
        soft = np.sign(g) * np.maximum(np.abs(g) - (method.parameter or 0.0), 0.0)
        if method.name == "gradient":
            w = g
        elif method.name == "subgradient":
            w = g - 0.02 * method.parameter * np.sign(w)
        elif method.name == "proximal":
            w = soft
        else:
            w = np.zeros(5) if method.name == "projected" else soft
            w[order[:2]] = g[order[:2]]
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("data", DATA)
def test_every_path_is_that_of_the_assignment(data: str) -> None:
    for method in METHODS:
        found, expected = Walk.take(data, method).path.weights.numpy(), in_numpy(data, method)
        if data == "two":  # the columns of weights 2 and 4 are opposite: which one is larger is rounding
            for path in (found, expected):
                path[:, [2, 4]] = -np.sort(-np.abs(path[:, [2, 4]]), axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_rows_say_data_method_parameter_weights_and_loss(results: dict[str, Any]) -> None:
    expected = [("gradient", None), ("projected", None)]
    expected += [("subgradient", v) for v in (0.2, 0.5, 1, 2)]
    expected += [("proximal", t) for t in (0.004, 0.01, 0.02, 0.04)]
    expected += [("trimmed", t) for t in (0.02, 0.04, 0.1, 0.2)]
    for data in ("three", "three-negated", "two"):
        found = rows(results, data)
        assert [(r["method"], r["parameter"]) for r in found] == expected
        for r in found:
            x, y = (X[:2], Y[:2]) if data == "two" else (X, -Y if data == "three-negated" else Y)
            residual = x @ np.array(r["weights"]) - y
            assert r["loss"] == pytest.approx(residual @ residual, rel=1e-6, abs=1e-28)
            assert r["exact_zeros"] == r["weights"].count(0)
            assert r["support"] == [i for i, w in enumerate(r["weights"], 1) if w]
            if r["method"] in ("proximal", "trimmed"):
                assert r["lambda"] == pytest.approx(r["parameter"] / 0.02)
    assert results["seeds"] == [0, 1, 2, 3]
    assert results["hardware"]["torch"]
    assert results["command"].startswith("pithnet lab linear --out ")


def test_known_values_of_three_points(results: dict[str, Any]) -> None:
    (plain,) = rows(results, "three", "gradient")
    assert plain["weights"] == pytest.approx([0.7476, -2.3894, 0.1226, -0.0312, 1.5649], abs=1e-4)
    assert plain["log_loss"] < -60
    for r in rows(results, "three", "projected") + rows(results, "three", "trimmed"):
        assert r["weights"] == pytest.approx(SPARSE, abs=1e-9)
    zeros = {
        name: [r["exact_zeros"] for r in rows(results, "three", name)]
        for name in ("subgradient", "proximal", "trimmed")
    }
    assert zeros == {"subgradient": [0, 0, 0, 0], "proximal": [1, 3, 3, 3], "trimmed": [3, 3, 3, 3]}
    for there, back in zip(rows(results, "three"), rows(results, "three-negated"), strict=True):
        assert [-w for w in back["weights"]] == there["weights"]
        assert back["mirror_gap"] == 0


def test_the_subgradient_never_has_an_exact_zero_and_the_proximal_step_keeps_its_own() -> None:
    for strength in (0.2, 0.5, 1.0, 2.0):
        assert not Walk.take("three", Method("subgradient", strength)).path.exact_zeros[1:].any()
    walk = Walk.take("three", Method("proximal", 0.04))
    settled = walk.row()["support_settled_at"]
    assert (walk.path.exact_zeros[settled:] == 3).all()
    assert walk.path.exact_zeros[settled - 1] < 3


def test_two_points_tie_and_the_lower_index_wins() -> None:
    for method in METHODS:
        w = Walk.take("two", method).path.weights
        if method.name in ("projected", "trimmed"):
            assert w[-1].tolist() == pytest.approx([0, -3, -1, 0, 0], abs=1e-8)
        else:
            assert torch.equal(w[:, 2].abs(), w[:, 4].abs()), method.what
            assert w[-1, 2] != 0


def test_pairs_that_solve_the_points_exactly() -> None:
    (only,) = exact_solutions("three")
    assert only.tolist() == pytest.approx(SPARSE)
    two = exact_solutions("two")
    assert len(two) == 9
    assert all(float(points("two").loss(w)) < 1e-18 and int((w != 0).sum()) == 2 for w in two)
    assert any(w.tolist() == pytest.approx(SPARSE) for w in two)


def test_the_bias_follows_its_formula(results: dict[str, Any]) -> None:
    for r in rows(results, "three", "proximal")[1:]:
        # Columns 2 and 5 are orthogonal, with squared norms 5 and 6.
        expected = [0, -3 + r["lambda"] / 10, 0, 0, 1 - r["lambda"] / 12]
        assert r["weights"] == pytest.approx(expected, abs=1e-5)
        assert r["to_biased"] < 1e-5


def test_designs_are_what_they_say() -> None:
    for grouped in (False, True):
        design = Design.draw(3, grouped)
        data, truth = design.problem, design.truth
        torch.testing.assert_close(data.X.norm(dim=0), torch.full((400,), 10.0, dtype=torch.float64))
        assert int((truth != 0).sum()) == 10
        assert bool((truth[truth != 0].abs() >= 1).all())
        assert (truth.ndim == 2) == grouped
        if grouped:
            assert int((truth != 0).any(1).sum()) == 2
        noise = float((data.y - data.X @ truth.flatten()).std())
        assert 0.4 < noise < 0.6
        assert torch.equal(Design.draw(3, grouped).problem.y, data.y)
        assert not torch.equal(Design.draw(4, grouped).problem.y, data.y)


def test_strengths_are_what_the_noise_does() -> None:
    assert universal_strength() == pytest.approx(0.5 * np.sqrt(2 * np.log(400) / 100))
    g = torch.Generator().manual_seed(0)
    X = Design.draw(0).problem.X
    noise = 0.5 * torch.randn(100, 200, generator=g, dtype=torch.float64)
    slopes = X.T @ noise / 100
    assert 0.6 < float((slopes.abs().amax(0) < universal_strength()).double().mean()) < 1
    norms = slopes.reshape(80, 5, 200).norm(dim=1).amax(0)
    assert 0.9 < float((norms < group_strength() * 5**0.5).double().mean()) <= 1


@pytest.mark.parametrize("grouped", [False, True])
def test_methods_do_not_see_the_truth(grouped: bool) -> None:
    design = Design.draw(1, grouped)
    blind = replace(design, truth=torch.full_like(design.truth, torch.nan))
    for entrant in entrants(grouped):
        if not entrant.knows_truth:
            torch.testing.assert_close(entrant.fit(blind), entrant.fit(design), atol=1e-9, rtol=0)


def test_trimmed_l1_and_mcp_beat_the_lasso_three_times() -> None:
    designs = [Design.draw(seed) for seed in range(20)]
    found = {e.what: e for e in entrants()}
    names = ("lasso, λ", "lasso, 2 λ", "trimmed L1, k = 10", "MCP, λ", "least squares on the true support")
    one, two, trimmed, mcp, oracle = (recovery(found[n], designs, "random") for n in names)
    for better in (trimmed, mcp):
        assert one["l2_error"] > 3 * better["l2_error"]
        assert two["l2_error"] > 3 * better["l2_error"]
        assert better["l2_error"] < 1.05 * oracle["l2_error"]
        assert better["true_positives"] == 10
        assert better["false_positives"] < 0.5
    assert one["true_positives"] == 10
    assert one["false_positives"] > two["false_positives"]
    assert len(one["l2_errors"]) == one["designs"] == 20


@pytest.fixture
def book(out: Path, results: dict[str, Any]) -> Iterator[Notebook]:
    with Notebook(out, {k: v for k, v in results.items() if k != "rows"}, resume=True) as book:
        yield book


def test_tables_plots_and_page_are_there(out: Path, results: dict[str, Any], book: Notebook) -> None:
    for data in DATA:
        table = read_csv(out / f"{data}.csv")
        assert [r["method"] for r in table] == [r["method"] for r in rows(results, data)]
        assert [float(r["w2"]) for r in table] == [r["weights"][1] for r in rows(results, data)]
    steps = read_csv(out / "paths.csv")
    assert len(steps) == len(DATA) * len(METHODS) * 201
    assert {r["step"] for r in steps} == {str(i) for i in range(201)}
    assert len(read_csv(out / "support-recovery.csv")) == len(entrants())
    families = ("plain", "subgradient", "proximal", "trimmed")
    drawings = {f"weights-{data}-{name}" for data in DATA for name in families}
    drawings |= {f"log-loss-{data}" for data in DATA}
    drawings |= {"close-up", "bias", "error-by-strength", "convergence"}
    assert {p.stem for p in out.glob("*.png")} == drawings
    for path in out.glob("*.png"):
        check_png(path)
    said = answers(linear.EXPERIMENT, book)
    assert len(said) == 18
    check_page(out / "index.html", said)
    page = (out / "index.html").read_text()
    assert "W       ← W - 2 μ Xᵀ(X W - y)" in page


def test_answers_say_what_the_rows_say(results: dict[str, Any], book: Notebook) -> None:
    said = {a.question: a.text for a in answers(linear.EXPERIMENT, book)}
    for text in said.values():
        check_sentences(text)
    assert "at (0.7476, -2.3894, 0.1226, -0.031" in said["Which methods reach an optimum of L?"]
    assert (
        "projected and trimmed end at the sparse solution (0, -3, 0, 0, 1)"
        in said["Which methods reach an optimum of L?"]
    )
    assert (
        "Of the 800 steps of the subgradient runs 0 end with an exact zero"
        in said["Which weights are sparse?"]
    )
    assert (
        "With gradient, subgradient and proximal |w3| = |w5|" in said["Which of two equal weights is kept?"]
    )
    assert "the lower index wins" in said["Which of two equal weights is kept?"]
    assert "two points have 9, among them that one" in said["What do two points change?"]
    lasso, trimmed = rows(results, "random", "lasso")[0], rows(results, "random", "trimmed")[0]
    ratio = f"It is {lasso['l2_error'] / trimmed['l2_error']:.1f} times"
    assert ratio in said["Who finds the weights, and how well?"]
    speed = said["Which solver is fastest?"]
    assert "subgradient not, ista from step 259, fista from step 107, admm from step 39" in speed
    assert "leave it again: fista at step 79 and admm at step 34." in speed


class Notes(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def test_resume_keeps_rows_and_says_what_it_does_not_use(
    out: Path, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "write_page", lambda experiment, book: None)
    kept = [r for r in results["rows"] if r["data"] != "random-convergence"]
    marked = next(r for r in kept if r["method"] == "mcp")
    marked["milliseconds"] = 0.125  # a mark that measuring again would remove
    (out / "results.json").write_text(json.dumps({**results, "rows": kept}))
    notes = Notes()
    linear.run(out, LabOptions(quick=True, resume=True, data="cifar10"), progress=notes)
    again = read_results(out)
    assert next(r for r in again["rows"] if r["method"] == "mcp")["milliseconds"] == 0.125
    assert rows(again, "random-convergence") == rows(results, "random-convergence")
    assert notes.lines[0] == ("lab linear makes its own data; --data, --data-root and --weights are not used")
    assert len(notes.lines) == 1 + 4
    (out / "results.json").write_text(json.dumps(results))


def test_a_folder_of_another_run_is_refused(out: Path) -> None:
    with pytest.raises(PithError, match=r"add --resume, or choose another --out"):
        linear.run(out, LabOptions(quick=True), progress=Quiet())
    with pytest.raises(PithError, match=r"was measured with seeds 0, 1, 2, 3, not 7, 8, 9, 10"):
        linear.run(out, LabOptions(quick=True, resume=True, seed=7), progress=Quiet())
