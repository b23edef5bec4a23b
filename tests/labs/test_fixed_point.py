"""One quick run, and what every item of it must hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from comparisons.labs import few_bits_of, repairs_of

from pithnet import zoo
from pithnet.commands import inputs
from pithnet.data import ArrayData
from pithnet.errors import ModelError, PithError
from pithnet.labs import LabOptions
from pithnet.labs.fixed_point import experiment as fixed_point
from pithnet.labs.fixed_point.repairs import CHOSEN, MATCHED, PLAIN, WAYS, most_levels
from pithnet.labs.fixed_point.schemes import Scheme, stages
from pithnet.labs.notebook import Notebook
from pithnet.labs.training import exactly_zero, zero_places
from pithnet.passes import average_bits, quantize
from pithnet.run.progress import Quiet
from pithnet.surgery import restore, weighted_layers

from .files import (
    answers,
    check_page,
    check_png,
    check_sentences,
    items,
    named_rows,
    read_csv,
    read_results,
    rows,
)

SIZES = {"conv1": 288, "conv2": 18_432, "conv3": 36_864, "linear": 640}
WEIGHTS, ENDS = 56_224, 928


@pytest.fixture(scope="module")
def out(fixed_point_lab: Path) -> Path:
    return fixed_point_lab


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    return read_results(out)


@pytest.fixture(scope="module")
def book(out: Path, results: dict[str, Any]) -> Iterator[Notebook]:
    facts = {k: v for k, v in results.items() if k != "rows"}
    with Notebook(out, facts, resume=True, progress=Quiet()) as book:
        yield book


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
    both = [(lv, "blocks") for lv in ("symmetric", "symmetric with zero")]
    assert list(found) == [f"{lv}, {b} bits, {where}" for lv, where in [*ways, *both] for b in (6, 4, 2)]
    for row in found.values():
        average = row["bits"] if row["where"] == "all" else blocks_average(row["bits"], row["bits"])
        assert row["average_bits"] == pytest.approx(average, abs=1e-9)
    reference = named_rows(results, "0")["float"]["accuracy"]
    for levels, where in ways:
        many, few = (found[f"{levels}, {b} bits, {where}"] for b in (6, 2))
        assert many["accuracy"] > reference - 0.02
        assert few["accuracy"] < many["accuracy"]
    for value in few_bits_of(found):
        assert value.value < value.bound, value


def test_training_starts_from_the_untrained_rows_and_recovers(results: dict[str, Any]) -> None:
    found, untrained = named_rows(results, "2"), named_rows(results, "1")
    ways = [("ours", "blocks"), ("source", "blocks"), ("ours", "all layers")]
    assert list(found) == [f"{lv}, {b} bits, {where}" for lv, where in ways for b in (4, 2)]
    for what, row in found.items():
        check_trained(row)
        assert row["accuracy_before"] == untrained[what]["accuracy"]
        assert row["average_bits"] == untrained[what]["average_bits"]
        assert row["teacher"] == ("self" if row["levels"] == "ours" else "none")
    hard = found["source, 2 bits, blocks"]
    lost = named_rows(results, "0")["float"]["accuracy"] - hard["accuracy_before"]
    assert lost > 0.05
    assert hard["accuracy"] > hard["accuracy_before"] + lost / 2


def pruned_places(book: Notebook, key: str) -> dict[str, torch.Tensor]:
    """Where the masks of a state say zero, by layer."""
    state = book.load(key)
    assert state is not None
    return zero_places(restore(zoo.build("digits-cnn"), state["model"]))


def test_zeros_are_intact_at_the_end_of_quantized_training(book: Notebook, results: dict[str, Any]) -> None:
    found = named_rows(results, "3")
    base = found.pop("pruned, float")
    alone = found.pop("pruned without a teacher, float")
    assert base["zeros"] == alone["zeros"] == round(0.7 * WEIGHTS)
    assert (base["teacher"], alone["teacher"]) == ("self", "none")
    starts = {
        "ours": pruned_places(book, "pruned"),
        "source": pruned_places(book, "pruned without a teacher"),
    }
    assert [sum(int(at.sum()) for at in places.values()) for places in starts.values()] == [base["zeros"]] * 2
    assert list(found) == [f"{lv}, {b} bits, blocks" for lv in ("ours", "source") for b in (4, 2)]
    for what, row in found.items():
        check_trained(row)
        check_rival(row, named_rows(results, "2")[what])
        trained = zoo.build("digits-cnn")
        restore(trained, book.load(f"pruned {what}")["model"])  # type: ignore[index]
        assert exactly_zero(trained, starts[row["levels"]])
        channels = dict(weighted_layers(trained))["conv2"].weight.detach().flatten(1)
        assert max(len(c[c != 0].unique()) for c in channels) <= 2 ** row["bits"]


def test_symmetry_and_the_number_of_levels_are_told_apart(results: dict[str, Any], out: Path) -> None:
    for item, widths in (("1", (6, 4, 2)), ("4", (4, 2))):
        found = named_rows(results, item)
        rivals = found | named_rows(results, "2" if item == "4" else "1")
        for levels, rival in (("symmetric", "source"), ("symmetric with zero", "symmetric")):
            for bits in widths:
                row = found[f"{levels}, {bits} bits, blocks"]
                check_rival(row, rivals[f"{rival}, {bits} bits, blocks"])
    for what, row in named_rows(results, "4").items():
        check_trained(row)
        assert row["teacher"] == "none"
        assert row["accuracy_before"] == named_rows(results, "1")[what]["accuracy"]
    # 2 bits: 96 of 100 weights are nearer to zero than to a level beyond it, in each of 5 seeds.
    lost = named_rows(results, "1")["symmetric with zero, 2 bits, blocks"]
    assert lost["zeros"] > 0.9 * lost["weights"]
    assert lost["rival_difference_high"] < 0
    page = (out / "index.html").read_text()
    for said in page.split("Symmetric or asymmetric levels, ")[1:]:
        assert "Symmetry alone (2^b levels from -max to max" in said
        assert "The number of levels alone (2^b - 1 with zero among them" in said


def test_symmetric_levels_reach_as_far_on_both_sides() -> None:
    for levels, bits, count in (("symmetric", 3, 8), ("symmetric", 2, 4), ("symmetric with zero", 3, 7)):
        model = zoo.build("digits-cnn")
        furthest = float(model.conv2.weight.detach().abs().max())  # type: ignore[union-attr, operator]
        Scheme(levels, bits).apply(model)
        found = dict(weighted_layers(model))["conv2"].weight.detach().unique()
        assert len(found) == count
        assert torch.allclose(found, -found.flip(0), atol=1e-6)
        assert float(found.max()) == pytest.approx(furthest)
        assert bool((found == 0).any()) == (levels == "symmetric with zero")


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
    # How many of 500 images a repair turns is chance; the distance to the float network is what it lessens.
    for value in repairs_of(found):
        assert value.value < value.bound, value


def test_more_levels_than_the_bits_allow_are_refused() -> None:
    model = zoo.build("digits-cnn")
    quantize(model, 3, quantizer="dynamic", skip=("conv1",), fit="range")
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
    said = answers(fixed_point.EXPERIMENT, book)
    assert [a.item for a in said] == ["1", "1", "2", "3", "4", "5", "6", "7", ""]
    for answer in said:
        check_sentences(answer.text)
    assert "not measured" not in (out / "index.html").read_text()
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


@pytest.fixture
def weights(out: Path, tmp_path: Path) -> Path:
    """The float network of the quick run as a checkpoint."""
    file = tmp_path / "weights.pt"
    torch.save(torch.load(out / "state" / "baseline.pt", weights_only=True)["model"], file)
    return file


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick lab with one width for each purpose."""
    monkeypatch.setattr(fixed_point, "QUICK", replace(fixed_point.QUICK, bits=(4,), trained=(4,)))


@pytest.mark.usefixtures("few")
def test_resuming_with_further_items_adds_their_rows(weights: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"quick": True, "weights": weights, "levels": "ours,symmetric"}
    lab = tmp_path / "lab"
    fixed_point.run(lab, LabOptions(items="1", **options), progress=Quiet())
    first = read_results(lab)
    assert items(first) == ["0", "1"]
    assert {r["levels"] for r in rows(first, "1")} == {"ours", "symmetric", "symmetric with zero"}
    page = (lab / "index.html").read_text()
    assert "1. Without training" in page
    for item in "234567":
        assert f"This run has not measured item {item}. The same command with" in page
    with pytest.raises(PithError, match="holds a lab already; add --resume"):
        fixed_point.run(lab, LabOptions(items="4", **options), progress=Quiet())
    fixed_point.run(lab, LabOptions(items="6,4", resume=True, **options), progress=Quiet())
    second = read_results(lab)
    assert items(second) == ["0", "1", "4", "6"]
    assert second["rows"][: len(first["rows"])] == first["rows"]
    page = (lab / "index.html").read_text()
    assert "4. Symmetric levels, trained" in page
    missing = [item for item in "1234567" if f"This run has not measured item {item}." in page]
    assert missing == ["2", "3", "5", "7"]
    assert second["command"].endswith("--items 6,4 --levels ours,symmetric")


def test_levels_decide_which_items_there_are() -> None:
    assert fixed_point.chosen_items(LabOptions(), ("source", "symmetric", "ours")) == tuple("1234567")
    assert fixed_point.chosen_items(LabOptions(), ("source",)) == ("1", "2", "3", "5")
    assert fixed_point.chosen_items(LabOptions(items="3,1"), ("source",)) == ("3", "1")
    with pytest.raises(
        PithError, match="item 6 has rows of --levels ours only; add those, or leave out item 6"
    ):
        fixed_point.chosen_items(LabOptions(items="5,6"), ("source", "symmetric"))
    with pytest.raises(PithError, match=r"unknown levels 'sorce'\. Did you mean source"):
        LabOptions(levels="ours,sorce").chosen_levels(("source", "symmetric", "ours"))


def test_a_network_without_stages_has_no_bits_by_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inputs.sources, "load", small_cifar)
    options = LabOptions(model="vgg16", data_root=tmp_path, items="1,5")
    with pytest.raises(
        PithError, match="item 5 gives bits by stage, and vgg16 has no stages; choose --items 1"
    ):
        fixed_point.run(tmp_path / "out", options, progress=Quiet())
    with pytest.raises(PithError, match="--quick runs digits-cnn on the bundled digits; leave out --model"):
        fixed_point.run(tmp_path / "out", LabOptions(quick=True, model="resnet20b"), progress=Quiet())
    assert not (tmp_path / "out").exists()


def small_cifar(name: str, root: Path | None, part: str) -> ArrayData:
    """Random images of CIFAR-10's shape: 64 to learn from, 20 to measure on."""
    count = 64 if part == "train" else 20
    g = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=g)
    return ArrayData(images, torch.arange(count) % 10, tuple(map(str, range(10))))


def test_the_source_s_average_bits_on_its_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inputs.sources, "load", small_cifar)
    torch.save(zoo.build("resnet20b").state_dict(), tmp_path / "weights.pt")
    options = LabOptions(
        model="resnet20b",
        data_root=tmp_path,
        weights=tmp_path / "weights.pt",
        items="5",
        levels="source",
        teacher="none",
        epochs=1,
    )
    fixed_point.run(tmp_path / "lab", options, progress=Quiet())
    results = read_results(tmp_path / "lab")
    assert results["architecture"] == "resnet20b"
    assert results["teacher"]["kind"] == "none"
    found = named_rows(results, "5")
    assert [(r["bits"], round(r["average_bits"], 6)) for r in found.values()] == [
        ([4, 4, 2], 2.598783),
        ([4, 2, 4], 3.732798),
        ([2, 4, 4], 4.008741),
    ]
