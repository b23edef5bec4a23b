"""One quick run, and what every item of it must hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pithnet.errors import PithError
from pithnet.labs import LabOptions
from pithnet.labs.notebook import Notebook
from pithnet.labs.pruning import experiment as pruning
from pithnet.labs.pruning.experiment import EXPERIMENT
from pithnet.labs.pruning.regularized import MAGNITUDE, methods
from pithnet.run.progress import Quiet
from pithnet.tensor import uniform

from .files import answers, check_page, check_png, items, read_csv, read_results, rows

SIZES = {"conv1": 288, "conv2": 18_432, "conv3": 36_864, "linear": 640}
WEIGHTS = sum(SIZES.values())


@pytest.fixture
def out(pruning_lab: Path) -> Path:
    return pruning_lab


@pytest.fixture
def results(out: Path) -> dict[str, Any]:
    return read_results(out)


def test_every_item_has_rows_and_the_run_says_what_it_was(results: dict[str, Any]) -> None:
    assert items(results) == ["1", "2", "3", "4", "5", "6", "7"]
    assert results["seeds"] == [0]
    assert results["epochs"] == {
        "baseline": 8,
        "retraining": 3,
        "prunings": 2,
        "regularized": 3,
        "structures": 1,
    }
    assert results["hardware"]["torch"]
    assert results["settings"]["quantiles"] == [0, 0.25, 0.3, 0.5, 0.7, 0.75]
    assert results["command"].startswith("pithnet lab pruning --out ")
    (baseline,) = rows(results, "1")
    # Five seeds end between 0.980 and 0.992; a percent is five images.
    assert baseline["accuracy"] > 0.95
    assert baseline["low"] < baseline["accuracy"] < baseline["high"]


def test_one_shot_sparsity_is_exact_in_every_layer(results: dict[str, Any]) -> None:
    found = rows(results, "2")
    assert [(r["method"], r["value"]) for r in found[:10]] == [
        *[("percentile", q) for q in (0, 0.25, 0.3, 0.5, 0.7, 0.75)],
        *[("std", s) for s in (0, 0.25, 0.5, 1.0)],
    ]
    for row in found:
        assert [(r["name"], r["size"]) for r in row["layers"]] == list(SIZES.items())
        assert row["zeros"] == sum(r["zeros"] for r in row["layers"])
        assert row["sparsity"] == row["zeros"] / WEIGHTS
        if row["method"] == "percentile":
            assert [r["zeros"] for r in row["layers"]] == uniform(list(SIZES.values()), row["value"])
    # Nothing but exact zeros is within 0 standard deviations: the start unchanged.
    for unpruned in (found[0], found[6]):
        assert unpruned["zeros"] == 0
        assert unpruned["difference"] == 0.0
        assert unpruned["accuracy"] == rows(results, "1")[0]["accuracy"]
    zeros = [r["zeros"] for r in found[6:10]]
    assert zeros == sorted(set(zeros))
    assert 0 < found[5]["structure"]["empty_kernels"] < found[5]["structure"]["kernels"] == 32 + 2048 + 4096


def test_the_percentile_is_measured_at_the_very_zeros_of_each_deviation(results: dict[str, Any]) -> None:
    found = {r["what"]: r for r in rows(results, "2")}
    for s in ("0.25", "0.5", "1"):
        std, equal = found[f"std s = {s}"], found[f"percentile with the zeros of std s = {s}"]
        assert equal["zeros"] == std["zeros"]
        assert equal["rival"] == std["what"]
        assert equal["rival_difference"] == pytest.approx(100 * (equal["accuracy"] - std["accuracy"]))
        assert equal["rival_difference_low"] <= equal["rival_difference"] <= equal["rival_difference_high"]
    assert len(found) == 10 + 3


def test_retraining_keeps_every_zero_exact_after_every_epoch(results: dict[str, Any]) -> None:
    before, after = rows(results, "2")[:10], rows(results, "3")
    assert [r["what"] for r in after] == [r["what"] for r in before]
    for cut, row in zip(before, after, strict=True):
        assert row["masks_exact"] is True
        assert row["epochs"] == 3
        assert row["zeros_by_epoch"] == [cut["zeros"]] * 3
        assert [r["zeros"] for r in row["layers"]] == [r["zeros"] for r in cut["layers"]]
        assert row["accuracy_before"] == cut["accuracy"]
        assert row["accuracy"] == row["accuracy_by_epoch"][-1]
        assert row["best_over_test_epochs"] == max(row["accuracy_by_epoch"])
    # One-shot 70 % leaves chance, and retraining the network: over five seeds 0.63 to 0.83 are won back.
    assert after[4]["accuracy"] > before[4]["accuracy"] + 0.2


def test_iterative_pruning_follows_its_schedule(results: dict[str, Any]) -> None:
    one_shot, iterative, minus = rows(results, "4")
    steps = [sum(uniform(list(SIZES.values()), share)) for share in (0.35, 0.7)]
    assert iterative["zeros_by_epoch"] == [*steps, steps[1]]
    assert one_shot["zeros_by_epoch"] == [steps[1]] * 3
    same = next(r for r in rows(results, "3") if r["what"] == "percentile q = 0.7")
    assert one_shot["accuracy"] == same["accuracy"]
    assert minus["difference"] == pytest.approx(100 * (iterative["accuracy"] - one_shot["accuracy"]))
    assert minus["difference_low"] <= minus["difference"] <= minus["difference_high"]


def test_global_ranking_reaches_the_same_zeros_in_other_layers(results: dict[str, Any]) -> None:
    ranked, minus = rows(results, "5")
    iterative = rows(results, "4")[1]
    assert ranked["zeros_by_epoch"] == [round(0.35 * WEIGHTS), round(0.7 * WEIGHTS), round(0.7 * WEIGHTS)]
    assert ranked["masks_exact"] is True
    assert ranked["zeros"] == sum(r["zeros"] for r in ranked["layers"])
    shares = {r["name"]: r["sparsity"] for r in ranked["layers"]}
    # Its weights are a seventh of the classifier's: over five seeds 0.78 against 0.14 at most.
    assert shares["conv3"] > 0.7 > shares["linear"]
    assert minus["difference"] == pytest.approx(100 * (ranked["accuracy"] - iterative["accuracy"]))


def test_regularizers_end_at_the_same_zeros_and_say_how_many_they_made(results: dict[str, Any]) -> None:
    magnitude, *rest = rows(results, "6")
    assert magnitude["what"] == MAGNITUDE
    by_name = {r["what"]: r for r in rest}
    assert list(by_name) == [m.what for m in methods(pruning.QUICK.penalties)]
    for row in (magnitude, *rest):
        assert row["masks_exact"] is True
        assert row["epochs"] == 3
        if row.get("kind") == "group-lasso":
            # Zeros are whole filters, of 9, 9 * 32 and 9 * 64 weights, and come within one of the target.
            assert abs(row["zeros"] - 0.7 * (WEIGHTS - SIZES["linear"])) <= 9 * 64
            assert row["zeros"] == 9 * row["structure"]["empty_kernels"]
            zeros = {r["name"]: r["zeros"] for r in row["layers"]}
            assert zeros["conv1"] % 9 == zeros["conv2"] % (9 * 32) == zeros["conv3"] % (9 * 64) == 0
        else:
            assert row["zeros"] == round(0.7 * WEIGHTS)
            # Over five seeds 0.968 at least.
            assert row["accuracy"] > 0.9
    # To hit zero exactly is an accident of the rounding; a proximal step does it to 0.7 of the weights.
    assert by_name["L1 in the loss, SGD"]["own_sparsity"] < 0.001
    assert by_name["L1, proximal"]["own_sparsity"] > 0.3
    assert by_name["trimmed L1, proximal"]["own_sparsity"] > 0.3
    for row in rest:
        assert row["own_sparsity"] == row["zeros_by_epoch"][1] / WEIGHTS
        gain = 100 * (row["accuracy"] - magnitude["accuracy"])
        assert row["magnitude_difference"] == pytest.approx(gain)


def test_tables_plots_and_page_are_there(out: Path, results: dict[str, Any]) -> None:
    for item in "1234567":
        assert [r["what"] for r in read_csv(out / f"item{item}.csv")] == [
            r["what"] for r in rows(results, item)
        ]
    layers = read_csv(out / "item2-layers.csv")
    assert len(layers) == 13 * len(SIZES)
    assert sum(int(r["zeros"]) for r in layers) == sum(r["zeros"] for r in rows(results, "2"))
    drawings = {p.stem for p in out.glob("*.png")}
    assert drawings == {
        *(f"pattern-{i}" for i in (1, 2, 3)),
        "sparsity-per-layer",
        "zeros-by-kurtosis",
        "accuracy-by-sparsity",
        "accuracy-by-epoch",
        "zeros-per-layer",
        "zeros-by-epoch",
        "accuracy-by-structure",
        "cost-by-structure",
    }
    for path in out.glob("*.png"):
        check_png(path)
    facts = {k: v for k, v in results.items() if k != "rows"}
    check_page(out / "index.html", answers(EXPERIMENT, Notebook(out, facts, resume=True)))


def test_answers_say_what_the_rows_say(out: Path, results: dict[str, Any]) -> None:
    facts = {k: v for k, v in results.items() if k != "rows"}
    said = {a.question: a.text for a in answers(EXPERIMENT, Notebook(out, facts, resume=True))}
    retraining = said["What does a retraining loop add to a training loop?"]
    assert "exact in 30 of 30 epochs of 10 trainings" in retraining
    ranked = rows(results, "5")[0]
    assert (
        f"Iterative pruning in one ranking ends at {100 * ranked['accuracy']:.2f} %"
        in said["Per layer or global?"]
    )
    assert "L1 as a term of the loss made " in said["Regularisation instead of magnitude?"]
    share = next(r["sparsity"] for r in ranked["layers"] if r["name"] == "conv3")
    by_ranking = said["Which layers become sparse under one ranking, and why?"]
    assert f"most zeros in `conv3` {100 * share:.2f} %" in by_ranking
    assert "from the labels alone, without a teacher" in said["Which settings?"]


def test_resume_measures_what_is_missing_and_nothing_else(out: Path, results: dict[str, Any]) -> None:
    kept = [r for r in results["rows"] if r["item"] != "5"]
    kept[1] = {**kept[1], "accuracy": 0.123}  # a mark that measuring again would remove
    (out / "results.json").write_text(json.dumps({**results, "rows": kept}))

    class NoTraining(Quiet):
        def batch(self, title: str, done: int, total: int) -> None:
            raise AssertionError("a finished training was repeated")

    pruning.run(out, LabOptions(quick=True, resume=True), progress=NoTraining())
    again = read_results(out)
    assert again["rows"][1]["accuracy"] == 0.123
    assert rows(again, "5") == rows(results, "5")
    (out / "results.json").write_text(json.dumps(results))


def test_a_second_run_into_the_same_folder_is_refused(out: Path) -> None:
    with pytest.raises(PithError, match="add --resume"):
        pruning.run(out, LabOptions(quick=True), progress=Quiet())
    with pytest.raises(PithError, match="measured with seeds 0, not 1; resume with the same"):
        pruning.run(out, LabOptions(quick=True, resume=True, seed=1), progress=Quiet())
