"""One quick run, and what every item of it must hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pithnet import zoo
from pithnet.errors import ModelError, PithError
from pithnet.labs import LabOptions, fixed_point
from pithnet.labs.fixed_point_answers import answers
from pithnet.labs.fixed_point_repairs import CHOSEN, MATCHED, PLAIN, WAYS, most_levels
from pithnet.labs.fixed_point_schemes import Scheme, stages
from pithnet.labs.notebook import Notebook
from pithnet.labs.training import exactly_zero, zero_places
from pithnet.passes import average_bits, quantize
from pithnet.run.progress import Quiet
from pithnet.surgery import restore, weighted_layers

from .files import check_page, check_png, items, named_rows, read_csv, read_results

SIZES = {"conv1": 288, "conv2": 18_432, "conv3": 36_864, "linear": 640}
WEIGHTS, ENDS = 56_224, 928


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "fixed-point"
    assert fixed_point.run(folder, LabOptions(quick=True), progress=Quiet()) == folder / "results.json"
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    return read_results(out)


@pytest.fixture(scope="module")
def book(out: Path, results: dict[str, Any]) -> Notebook:
    return Notebook(out, {k: v for k, v in results.items() if k != "rows"}, resume=True, progress=Quiet())


def check_trained(row: dict[str, Any]) -> None:
    assert row["epochs"] == len(row["accuracy_by_epoch"]) == 1
    assert row["accuracy"] == row["accuracy_by_epoch"][-1] == row["best_over_test_epochs"]
    assert row["low"] < row["accuracy"] < row["high"]
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert row["masks_exact"] is True


def check_rival(row: dict[str, Any], rival: dict[str, Any]) -> None:
    """The difference to the row of that name, and an interval around it."""
    assert row["rival"] == rival["what"]
    assert row["rival_difference"] == pytest.approx(100 * (row["accuracy"] - rival["accuracy"]))
    assert row["rival_difference_low"] <= row["rival_difference"] <= row["rival_difference_high"]


def blocks_average(first: float, second: float) -> float:
    return (first * SIZES["conv2"] + second * SIZES["conv3"] + 32 * ENDS) / WEIGHTS


def test_every_item_has_rows_and_the_run_says_what_it_was(results: dict[str, Any]) -> None:
    assert items(results) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert (results["seeds"], results["precision"]) == ([0], "float32")
    assert results["epochs"] == {"baseline": 6, "tuning": 1, "pruning": 2}
    assert results["settings"]["tuning"]["objective"]["distill"] == 0.9
    assert results["command"].startswith("pithnet lab fixed-point --out ")
    float_row = named_rows(results, "0")["float"]
    assert float_row["accuracy"] > 0.9
    assert (float_row["average_bits"], float_row["zeros"]) == (32.0, 0)


def test_fewer_bits_without_training_lose_more(results: dict[str, Any]) -> None:
    found = named_rows(results, "1")
    ways = [(lv, where) for lv in ("source", "ours") for where in ("blocks", "all layers")]
    assert list(found) == [f"{lv}, {b} bits, {where}" for lv, where in ways for b in (6, 4, 2)]
    for row in found.values():
        average = row["bits"] if row["where"] == "all" else blocks_average(row["bits"], row["bits"])
        assert row["average_bits"] == pytest.approx(average, abs=1e-9)
    reference = named_rows(results, "0")["float"]["accuracy"]
    for levels, where in ways:
        many, few = (found[f"{levels}, {b} bits, {where}"] for b in (6, 2))
        assert many["accuracy"] > reference - 0.02
        assert few["accuracy"] < many["accuracy"]
        assert few["loss"] > 1.05 * many["loss"]


def test_training_starts_from_the_untrained_rows_and_recovers(results: dict[str, Any]) -> None:
    found, untrained = named_rows(results, "2"), named_rows(results, "1")
    ways = [("ours", "blocks"), ("source", "blocks"), ("ours", "all layers")]
    assert list(found) == [f"{lv}, {b} bits, {where}" for lv, where in ways for b in (4, 2)]
    for what, row in found.items():
        check_trained(row)
        assert row["accuracy_before"] == untrained[what]["accuracy"]
        assert row["average_bits"] == untrained[what]["average_bits"]
    hard = found["source, 2 bits, blocks"]
    lost = named_rows(results, "0")["float"]["accuracy"] - hard["accuracy_before"]
    assert lost > 0.05
    assert hard["accuracy"] > hard["accuracy_before"] + lost / 2


def test_zeros_are_intact_at_the_end_of_quantized_training(book: Notebook, results: dict[str, Any]) -> None:
    found = named_rows(results, "3")
    base = found.pop("pruned, float")
    assert base["zeros"] == round(0.7 * WEIGHTS)
    pruned = zoo.build("digits-cnn")
    restore(pruned, book.load("pruned")["model"])  # type: ignore[index]
    places = zero_places(pruned)
    assert sum(int(at.sum()) for at in places.values()) == base["zeros"]
    assert list(found) == [f"{lv}, {b} bits, blocks" for lv in ("ours", "source") for b in (4, 2)]
    for what, row in found.items():
        check_trained(row)
        check_rival(row, named_rows(results, "2")[what])
        trained = zoo.build("digits-cnn")
        restore(trained, book.load(f"pruned {what}")["model"])  # type: ignore[index]
        assert exactly_zero(trained, places)
        channels = dict(weighted_layers(trained))["conv2"].weight.detach().flatten(1)
        assert max(len(c[c != 0].unique()) for c in channels) <= 2 ** row["bits"]


def test_symmetric_levels_stand_beside_the_source_s(results: dict[str, Any]) -> None:
    found = named_rows(results, "4")
    names = [f"symmetric, {b} bits, blocks" for b in (6, 4, 2)]
    assert list(found) == [*(f"{name}, untuned" for name in names), *names[1:]]
    for what, row in found.items():
        trained = not what.endswith("untuned")
        check_rival(row, named_rows(results, "2" if trained else "1")[f"source, {row['bits']} bits, blocks"])
        if trained:
            check_trained(row)
            assert row["accuracy_before"] == found[f"{what}, untuned"]["accuracy"]


def test_bits_by_stage_are_counted_with_the_float_layers(results: dict[str, Any]) -> None:
    found = named_rows(results, "5")
    assert list(found) == [f"{lv}, {{{b}}} bits, blocks" for lv in ("ours", "source") for b in ("4,2", "2,4")]
    for row in found.values():
        check_trained(row)
        assert row["average_bits"] == pytest.approx(blocks_average(*row["bits"]), abs=1e-9)


def test_a_search_spends_no_more_than_the_scheme_by_hand(results: dict[str, Any]) -> None:
    found, by_hand = named_rows(results, "6"), named_rows(results, "5")
    assert list(found) == [f"searched, <= {blocks_average(*b):.4f} bits" for b in ((4, 2), (2, 4))]
    for row, bits in zip(found.values(), ("4,2", "2,4"), strict=True):
        hand = f"ours, {{{bits}}} bits, blocks"
        check_trained(row)
        check_rival(row, by_hand[hand])
        assert row["budget"] == by_hand[hand]["average_bits"]
        assert {r["name"]: r["size"] for r in row["layers"]} == SIZES
        spent = sum(r["size"] * r["bits"] for r in row["layers"])
        assert row["average_bits"] == pytest.approx(spent / WEIGHTS)
        assert row["average_bits"] <= row["budget"]


def test_repairs_without_labels_win_back_what_few_levels_lose(results: dict[str, Any]) -> None:
    found = named_rows(results, "7")
    ways = [("all layers", tuple(WAYS)), ("blocks", (PLAIN, MATCHED, CHOSEN))]
    names = [f"{way}, {b} bits, {where}" for b in (4, 2) for where, some in ways for way in some]
    assert list(found) == names
    for row in found.values():
        all_layers = row["where"] == "all"
        average = row["bits"] if all_layers else blocks_average(row["bits"], row["bits"])
        assert row["average_bits"] == pytest.approx(average, abs=1e-9)
        assert 2 < row["most_levels"] <= 2 ** row["bits"]
        assert row["calibration"] == 256
        assert row["divergence"] >= 0
        if row["levels"] != PLAIN:
            where = "all layers" if all_layers else "blocks"
            check_rival(row, found[f"{PLAIN}, {row['bits']} bits, {where}"])
    for where in ("all layers", "blocks"):
        plain, matched, chosen = (found[f"{way}, 2 bits, {where}"] for way in (PLAIN, MATCHED, CHOSEN))
        assert chosen["divergence"] < matched["divergence"] < plain["divergence"]
        assert chosen["accuracy"] > plain["accuracy"] + 0.02
        assert chosen["rival_difference_low"] > 0
        assert chosen["loss"] < plain["loss"]


def test_more_levels_than_the_bits_allow_are_refused() -> None:
    model = zoo.build("digits-cnn")
    quantize(model, 3, quantizer="dynamic", skip=("conv1",))
    assert most_levels(model, ("conv1",), 3) == 8
    with pytest.raises(ModelError, match=r"conv2 has \d levels in a channel, more than 2 bits"):
        most_levels(model, ("conv1",), 2)


def test_the_source_s_mixed_schemes_on_its_network() -> None:
    for bits, expected in {(4, 4, 2): 2.5988, (4, 2, 4): 3.7328, (2, 4, 4): 4.0087}.items():
        model = zoo.build("resnet20b")
        Scheme("source", bits).apply(model)
        assert average_bits(model) == pytest.approx(expected, abs=5e-5)
    parts = stages(zoo.build("resnet20b"))
    assert (parts.first, parts.last) == ("conv1", "linear")
    assert [len(names) for names in parts.inner] == [6, 7, 7]


def test_page_tables_and_plots(out: Path, results: dict[str, Any], book: Notebook) -> None:
    said = answers(book)
    assert [a.item for a in said] == ["1", "2", "3", "4", "5", "6", "7", "settings"]
    check_page(out / "index.html", said)
    kinds = ["accuracy", "trained", "pruned", "symmetric"]
    names = [
        *(f"{kind}-by-bits" for kind in kinds),
        "accuracy-by-size",
        "searched-by-size",
        "repaired-by-bits",
    ]
    for name in [*names, "epochs-3", "bits-by-layer", "levels"]:
        check_png(out / f"{name}.png")
    assert not (out / "epochs-2.png").exists()  # a single epoch is no curve
    for item in "1234567":
        assert len(read_csv(out / f"item{item}.csv")) == len(named_rows(results, item))
    assert {r["name"] for r in read_csv(out / "item6-layers.csv")} == set(SIZES)


def test_resuming_with_further_items_adds_their_rows(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(fixed_point.QUICK, bits=(4,), trained=(4,), mixed=((4, 2),))
    monkeypatch.setattr(fixed_point, "QUICK", few)
    baseline = torch.load(out / "state" / "baseline.pt", weights_only=True)["model"]
    torch.save(baseline, tmp_path / "weights.pt")
    options: dict[str, Any] = {"quick": True, "weights": tmp_path / "weights.pt"}
    fixed_point.run(tmp_path / "lab", LabOptions(items="1", **options), progress=Quiet())
    first = read_results(tmp_path / "lab")
    assert items(first) == ["0", "1"]
    page = (tmp_path / "lab" / "index.html").read_text()
    assert "1. Without training" in page
    assert "5. Mixed precision by stage" not in page
    with pytest.raises(PithError, match="holds a lab already; add --resume"):
        fixed_point.run(tmp_path / "lab", LabOptions(items="5", **options), progress=Quiet())
    fixed_point.run(tmp_path / "lab", LabOptions(items="5", resume=True, **options), progress=Quiet())
    second = read_results(tmp_path / "lab")
    assert items(second) == ["0", "1", "5"]
    assert second["rows"][: len(first["rows"])] == first["rows"]
    page = (tmp_path / "lab" / "index.html").read_text()
    assert "1. Without training" in page
    assert "5. Mixed precision by stage" in page
    assert "2. Trained" not in page
    assert second["command"].endswith("--items 5")
