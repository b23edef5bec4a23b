"""One quick run, and what every item of it must hold."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.commands.settings import DataSettings
from pithnet.deploy import OnnxSession, operators
from pithnet.errors import ModelError, PithError
from pithnet.labs import LabOptions
from pithnet.labs.notebook import Notebook
from pithnet.labs.ptq import experiment as ptq
from pithnet.labs.ptq.comparisons import comparisons, schemes
from pithnet.labs.ptq.files import FORMS
from pithnet.labs.ptq.schemes import CODEBOOK, HOUSE, POWERS, Scheme
from pithnet.labs.ptq.source import DYNAMIC, FLOAT, RESNET, STATIC, VGG, published_columns
from pithnet.labs.workbench import Workbench
from pithnet.labs.writing import write_page
from pithnet.run.progress import Quiet
from pithnet.surgery import fold_into_layers_, weighted_layers

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


@pytest.fixture(scope="module")
def out(ptq_lab: Path) -> Path:
    return ptq_lab


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    return read_results(out)


@pytest.fixture(scope="module")
def book(out: Path, results: dict[str, Any]) -> Iterator[Notebook]:
    facts = {k: v for k, v in results.items() if k != "rows"}
    with Notebook(out, facts, resume=True, progress=Quiet()) as book:
        yield book


class Notes(Quiet):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def folded() -> nn.Module:
    torch.manual_seed(0)
    model = zoo.build("digits-cnn").eval()
    fold_into_layers_(model)
    return model


def test_every_item_has_rows_and_the_run_says_what_it_was(results: dict[str, Any]) -> None:
    assert items(results) == ["0", "1", "2", "3"]
    assert results["architecture"] == "digits-cnn"
    assert results["epochs"] == {"baseline": 6, "pruned": 0}
    assert results["command"].startswith("pithnet lab ptq --out ")
    base = named_rows(results, "0")["float"]
    assert base["accuracy"] > 0.9
    assert (base["weights"], base["linear_share"]) == (sum(SIZES.values()), 640 / sum(SIZES.values()))


def test_files_have_the_sizes_and_the_int8_operators_of_their_rows(
    out: Path, results: dict[str, Any]
) -> None:
    found = named_rows(results, "2")
    for form in FORMS:
        row, path = found[form.what], out / "models" / form.file
        assert row["bytes"] == path.stat().st_size == round(row["mib"] * 2**20)
        kernels = operators(path)
        assert (row["int8_convolutions"], row["int8_linear_layers"]) == (
            kernels.int8("convolution"),
            kernels.int8("linear layer"),
        )
        assert (row["convolutions"], row["linear_layers"], row["additions"]) == (3, 1, 0)
    assert found["float32"]["float_names"] == ["conv1", "conv2", "conv3", "linear"]
    assert found[DYNAMIC]["float_names"] == ["conv1", "conv2", "conv3"]
    static = found[f"{STATIC}, per channel"]
    assert (static["int8_convolutions"], static["int8_linear_layers"], static["float_names"]) == (3, 1, [])
    assert static["bytes"] < found["float32"]["bytes"] / 3
    assert 0.97 * found["float32"]["bytes"] < found[DYNAMIC]["bytes"] < found["float32"]["bytes"]


def test_files_answer_as_their_simulation(out: Path, results: dict[str, Any]) -> None:
    found, base = named_rows(results, "2"), named_rows(results, "0")["float"]
    for form in FORMS:
        row = found[form.what]
        assert row["difference"] == pytest.approx(100 * (row["accuracy"] - base["accuracy"]))
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["low"] < row["accuracy"] < row["high"]
        assert row["within_a_step"] == 1
        assert row["same_class"][1] == 500
    assert found["float32"]["max_difference"] < 1e-4
    assert found["float32"]["accuracy"] == base["accuracy"]
    for what in (f"{STATIC}, per channel", f"{STATIC}, per tensor"):
        simulated = named_rows(results, "3")[
            next(f.scheme.what for f in FORMS if f.what == what and f.scheme)
        ]
        assert found[what]["accuracy"] == pytest.approx(simulated["accuracy"], abs=2 / 500)
    x = torch.zeros(1, 1, 8, 8).numpy()
    assert OnnxSession(out / "models" / "dynamic-int8.onnx", threads=1)(x).shape == (1, 10)


def test_times_are_shares_of_the_references_beside_them(results: dict[str, Any]) -> None:
    timed = [r for r in rows(results, "2") if "ms" in r]
    cells = {(r["batch"], r["threads"]) for r in timed}
    assert {batch for batch, _ in cells} == {1, 64}
    assert len(timed) == (len(FORMS) + 1) * len(cells)
    for batch, threads in cells:
        mine = {r["file"]: r for r in timed if (r["batch"], r["threads"]) == (batch, threads)}
        eager, base = mine["float32.pt"], mine["float32.onnx"]
        assert (eager["runtime"], eager["share_of_eager"]) == ("PyTorch eager", 1.0)
        for name, row in mine.items():
            assert row["share_of_eager"] == pytest.approx(row["ms"] / eager["ms"])
            if name.endswith(".onnx"):
                assert row["share_of_float32"] == pytest.approx(row["ms"] / base["ms"])
            assert row["ms_low"] <= row["ms"] <= row["ms_high"]
            assert row["rounds"] >= 7


def test_every_scheme_stands_beside_its_rivals(results: dict[str, Any]) -> None:
    found = named_rows(results, "3")
    base = named_rows(results, "0")["float"]["accuracy"]
    assert list(found) == ["the float network's layers", *(s.what for s in schemes())]
    for group, entrants in comparisons().items():
        for scheme, rival in entrants:
            row = found[scheme.what]
            assert group in row["groups"]
            assert row["difference"] == pytest.approx(100 * (row["accuracy"] - base))
            beside = [r for r in row["rivals"] if r["group"] == group]
            assert [r["rival"] for r in beside] == ([rival.what] if rival else [])
            for r in beside:
                gained = 100 * (row["accuracy"] - found[r["rival"]]["accuracy"])
                assert r["rival_difference"] == pytest.approx(gained)
                assert r["rival_difference_low"] <= gained + 1e-9
                assert r["rival_difference_high"] >= gained - 1e-9


def test_finer_steps_err_less_and_bits_stay_within_their_budget(results: dict[str, Any]) -> None:
    found = named_rows(results, "3")

    def error(**scheme: Any) -> float:
        return float(found[Scheme(4, **scheme).what]["weight_error"])

    tensor = error(granularity="tensor")
    assert error() < 0.8 * tensor
    assert error(granularity="tensor", levels=CODEBOOK) < error(granularity="tensor", fit="mse") < tensor
    assert error(symmetric=False) < error()
    assert found[Scheme(8).what]["weight_error"] < error() / 100
    assert found[Scheme(None, 8).what]["weight_error"] == 0
    for bits in (4, 3):
        row = found[Scheme(bits, fit="mse", mixed=True).what]
        spent = sum(SIZES[layer["name"]] * layer["bits"] for layer in row["layers"])
        assert row["average_bits"] == pytest.approx(spent / sum(SIZES.values()))
        assert row["average_bits"] <= bits
        assert found[Scheme(bits, fit="mse").what]["average_bits"] == bits
    plain, clipped = (found[Scheme(8, 4, observer=o).what]["activation_step"] for o in ("min-max", "mse"))
    assert clipped < plain


def test_zeros_of_activations_are_those_of_the_relus(results: dict[str, Any], book: Notebook) -> None:
    layers = {r["name"]: r for r in named_rows(results, "3")["the float network's layers"]["layers"]}
    assert list(layers) == list(SIZES)
    assert layers["linear"]["zero_share"] is None
    bench = Workbench.open(DataSettings(data="digits"), None, 64, 0)
    model = bench.model()
    model.load_state_dict(book.load("baseline")["model"])  # type: ignore[index]
    images = bench.calibration_images(ptq.QUICK.calibration)
    with torch.no_grad():
        share = (model.bn1(model.conv1(images)) <= 0).double().mean()
    # Of half a million numbers a few are near zero, where the order of a sum decides their sign.
    assert layers["conv1"]["zero_share"] == pytest.approx(float(share), abs=1e-4)


def test_schemes_put_as_many_levels_in_a_row_as_they_say() -> None:
    start, images = folded(), torch.randn(20, 1, 8, 8)
    for scheme, levels in ((Scheme(4), 15), (Scheme(4, symmetric=False), 16), (Scheme(4, levels=POWERS), 15)):
        model, before = scheme.apply(start, images)
        for name, layer in weighted_layers(model):
            assert max(len(row.unique()) for row in layer.weight) <= levels
            assert not torch.equal(layer.weight, dict(weighted_layers(before))[name].weight)
        assert scheme.bits_per_weight(model) == 4
    model = Scheme(4, granularity="tensor", levels=CODEBOOK).apply(start, images).model
    assert [len(layer.weight.unique()) for _, layer in weighted_layers(model)] == [16] * 4
    kept = copy.deepcopy(start.state_dict())
    HOUSE.apply(start, images)
    assert all(torch.equal(v, kept[k]) for k, v in start.state_dict().items())


def test_equalizing_moves_ranges_and_not_the_answers() -> None:
    start, images = folded(), torch.randn(20, 1, 8, 8)
    before = Scheme(4, granularity="tensor", repair="equalized").apply(start, images).before
    with torch.no_grad():
        assert torch.allclose(before(images), start(images), atol=1e-5)
    assert not torch.equal(before.conv1.weight, start.conv1.weight)  # type: ignore[union-attr]


def test_the_source_stands_beside_its_own_networks_only() -> None:
    assert published_columns("digits-cnn", FLOAT) == {}
    assert published_columns("vgg16-imagenet", DYNAMIC) == {"source_mib": 174.09}
    assert published_columns("vgg16", STATIC) == {"source_accuracy": 0.9099, "source_time": 0.436}
    assert published_columns("resnet18", STATIC)["source_mib"] == 10.79
    assert 100 * (VGG[FLOAT].accuracy - VGG[STATIC].accuracy) == pytest.approx(0.23)
    assert 100 * (RESNET[DYNAMIC].accuracy - RESNET[FLOAT].accuracy) == pytest.approx(0.48)


def test_page_tables_and_plots(out: Path, results: dict[str, Any], book: Notebook) -> None:
    said = answers(ptq.EXPERIMENT, book)
    groups = [*comparisons(), "sparsity"]
    assert [a.item for a in said] == ["1", "1", "2", "2", "2", *("3" for _ in groups), ""]
    for answer in said:
        check_sentences(answer.text)
    check_page(out / "index.html", said)
    for name in ("accuracy-by-share", "times", "bits-by-layer", "zeros-by-layer", "range-by-layer"):
        check_png(out / f"{name}.png")
    for group, entrants in comparisons().items():
        check_png(out / f"points-{group}.png")
        listed = [r["what"] for r in read_csv(out / f"item3-{group}.csv")]
        assert listed == [e.scheme.what for e in entrants]
    assert len(read_csv(out / "item2.csv")) == len(FORMS)
    assert len(read_csv(out / "item2-times.csv")) == len([r for r in rows(results, "2") if "ms" in r])


def test_a_comparison_is_shown_when_all_of_it_is_measured(results: dict[str, Any], tmp_path: Path) -> None:
    left_out = Scheme(4, repair="equalized", granularity="tensor").what
    facts = {k: v for k, v in results.items() if k != "rows"}
    book = Notebook(tmp_path / "lab", facts, progress=Quiet())
    book.rows = [r for r in results["rows"] if r["what"] != left_out]
    write_page(ptq.EXPERIMENT, book)
    shown = {p.stem.removeprefix("points-") for p in book.out.glob("points-*.png")}
    assert shown == set(comparisons()) - {"repairs"}
    repairs = (book.out / "index.html").read_text().split("3. Repairs without training</h2>")[1]
    assert "This comparison is shown once all of its schemes are measured." in repairs


def test_an_item_can_be_measured_alone(out: Path, tmp_path: Path) -> None:
    baseline = torch.load(out / "state" / "baseline.pt", weights_only=True)["model"]
    torch.save(baseline, tmp_path / "weights.pt")
    options: dict[str, Any] = {"quick": True, "weights": tmp_path / "weights.pt"}
    notes = Notes()
    ptq.run(tmp_path / "lab", LabOptions(items="3", epochs=2, **options), progress=notes)
    assert notes.lines[0] == "--epochs is not used: items 2 and 3 train nothing"
    first = read_results(tmp_path / "lab")
    assert items(first) == ["0", "3"]
    assert not (tmp_path / "lab" / "item2.csv").exists()
    with pytest.raises(PithError, match="holds a lab already; add --resume"):
        ptq.run(tmp_path / "lab", LabOptions(items="2", **options), progress=Quiet())
    # The same weights, in another memory format: their rounding is the same, but a sum of activations rounded
    # otherwise may turn images near a tie, and with them the bits of mixed precision.
    again = named_rows(first, "3")
    compared = [r for r in rows(read_results(out), "3") if "weight_error" in r and "layers" not in r]
    assert len(compared) > 20
    for row in compared:
        assert again[row["what"]]["weight_error"] == pytest.approx(row["weight_error"], rel=1e-3, abs=1e-9)
        assert again[row["what"]]["accuracy"] == pytest.approx(row["accuracy"], abs=0.02)


def test_epochs_are_those_of_fine_tuning() -> None:
    short = ptq.FULL.within(3)
    assert short.tuning is not None
    assert short.tuning.epochs == 3
    assert replace(short, tuning=None) == ptq.FULL == ptq.FULL.within(None)


def test_what_the_lab_does_not_run_is_refused(tmp_path: Path) -> None:
    where = tmp_path / "out"
    with pytest.raises(PithError, match="--quick runs digits-cnn on the bundled digits; leave out --model"):
        ptq.run(where, LabOptions(quick=True, model="resnet18"), progress=Quiet())
    with pytest.raises(ModelError, match="vgg16 does not take the images of digits"):
        ptq.run(where, LabOptions(data="digits", model="vgg16"), progress=Quiet())
    with pytest.raises(ModelError, match="Did you mean"):
        ptq.run(where, LabOptions(data="digits", model="digits-cmm"), progress=Quiet())
    with pytest.raises(PithError, match="this lab has no item '4'; its items are 1, 2, 3"):
        ptq.run(where, LabOptions(quick=True, items="4"), progress=Quiet())
    assert not where.exists()
