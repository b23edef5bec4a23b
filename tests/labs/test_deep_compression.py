"""One quick run, and what every item of it must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pithnet.artifact as artifact
from pithnet.labs import LabOptions
from pithnet.labs.deep_compression import experiment as deep_compression
from pithnet.labs.deep_compression.experiment import EXPERIMENT
from pithnet.labs.notebook import Notebook
from pithnet.run.progress import Quiet

from .files import answers, check_page, check_png, items, read_csv, read_results, rows

SIZES = {"conv1": 288, "conv2": 18_432, "conv3": 36_864, "linear": 640}
INITS = ["linear", "random", "density", "kmeans++", "optimal"]


@pytest.fixture
def out(deep_compression_lab: Path) -> Path:
    return deep_compression_lab


@pytest.fixture
def results(out: Path) -> dict[str, Any]:
    return read_results(out)


def test_every_item_has_rows_and_the_run_says_what_it_was(results: dict[str, Any]) -> None:
    assert items(results) == ["0", "1", "2", "3", "4"]
    assert results["seeds"] == [0]
    recipe = results["settings"]["recipe"]
    assert recipe["name"] == "demo"
    trained = [step["train"]["epochs"] for step in recipe["steps"]]
    assert results["start"] == "recipe"
    assert results["teacher"]["kind"] == "self"
    assert recipe["distill"]["weight"] == 0.9
    assert results["epochs"] == {"baseline": 8, "codebooks": 1, "pipeline": trained}
    assert sum(trained) < 10
    float_network, pruned = rows(results, "0")
    # Five seeds end between 0.980 and 0.992; a percent is five images.
    assert float_network["accuracy"] > 0.95
    assert pruned["zeros"] == round(recipe["steps"][0]["prune"]["sparsity"] * sum(SIZES.values()))


def test_fewer_bits_take_fewer_bytes_and_keep_the_zeros(results: dict[str, Any]) -> None:
    *found, best = rows(results, "1")
    assert [r["bits"] for r in found] == [6, 5, 4, 3]
    nonzeros = sum(SIZES.values()) - rows(results, "0")[1]["zeros"]
    for row in found:
        assert row["zeros_kept"] is True
        assert row["nonzeros"] == nonzeros
        assert row["index_bytes"] == -(-nonzeros * row["bits"] // 8)
        assert row["codebook_bytes"] <= 4 * 4 * 2 ** row["bits"]
    sizes = [r["file_bytes"] for r in found]
    assert sizes == sorted(sizes, reverse=True)
    # Neighbours can change places; from 6 to 3 bits the distance grows 57 to 169 times over five seeds.
    assert found[3]["kl"] > 5 * found[0]["kl"]
    enough = [r["bits"] for r in found if r["agreement"] >= 0.99]
    assert best["bits"] == (min(enough) if enough else max(found, key=lambda r: r["agreement"])["bits"])
    assert best["met"] == bool(enough)


def test_initialisations_differ_in_inertia_and_codebooks_train(results: dict[str, Any]) -> None:
    found = rows(results, "2")
    assert [r["init"] for r in found] == INITS
    # Dynamic programming, exact to 1.0005 where a layer has more than 512 distinct weights.
    assert found[-1]["init"] == "optimal"
    assert found[-1]["inertia"] <= 1.0005 * min(r["inertia"] for r in found)
    for row in found:
        assert row["masks_exact"] is True
        assert row["zeros_by_epoch"] == [rows(results, "0")[1]["zeros"]]
        assert row["most_levels"] == 8
        assert row["iterations"] >= row["most_iterations"] >= 1
    assert any(r["accuracy"] != r["accuracy_before"] for r in found)


def test_huffman_codes_lie_between_entropy_and_fixed_width(results: dict[str, Any]) -> None:
    *layers, total, codes = rows(results, "3")[:-4]
    assert {r["what"]: r["weights"] for r in layers} == SIZES
    for row in [*layers, total]:
        assert row["entropy_bits"] <= row["huffman_bits"] < row["entropy_bits"] + 1
        assert row["huffman_bits"] <= row["fixed_bits"] == 5
        assert row["dense_entropy_bits"] <= row["dense_huffman_bits"] <= row["dense_fixed_bits"] == 6
        assert {"gaps", "kernels", "bitmap", "relative index, fixed width"} <= set(row["positions"])
    assert total["nonzeros"] == rows(results, "1")[0]["nonzeros"]
    assert total["positions_chosen_bytes"] <= total["positions"]["gaps"]
    assert codes["what"] == "codes of conv3"
    assert sum(c["count"] for c in codes["codes"]) == next(
        r["nonzeros"] for r in layers if r["what"] == "conv3"
    )
    texts = [c["code"] for c in codes["codes"]]
    assert [len(t) for t in texts] == [c["length"] for c in codes["codes"]]
    assert not any(a != b and b.startswith(a) for a in texts for b in texts)


def test_the_code_length_is_measured_with_empty_clusters_refilled_and_left(results: dict[str, Any]) -> None:
    found = {r["what"]: r for r in rows(results, "3")[-4:]}
    total = next(r for r in rows(results, "3") if r["what"] == "all layers")
    refilled, left = (
        found[f"empty clusters {how}, the pruned network"] for how in ("refilled", "left empty")
    )
    # What items 1 and 3 are made with is refilled.
    assert refilled["huffman_bits"] == pytest.approx(total["huffman_bits"], rel=1e-12)
    assert refilled["entropy_bits"] == pytest.approx(total["entropy_bits"], rel=1e-12)
    assert refilled["levels"] == refilled["clusters"] == 32 * len(SIZES)
    assert left["levels"] < left["clusters"]
    before = found["empty clusters refilled, the float network"]
    assert before["nonzeros"] == sum(SIZES.values()) > refilled["nonzeros"] == total["nonzeros"]


def test_the_whole_pipeline_is_one_real_file(out: Path, results: dict[str, Any]) -> None:
    whole = rows(results, "4")[0]
    data = (out / "model.pith").read_bytes()
    assert whole["bytes"] == len(data) == sum(whole["parts"].values())
    assert whole["ratio"] == whole["float_bytes"] / len(data) >= 20
    # Five seeds: 28.4 to 28.8 times, and -0.6 points at worst; a point is five images.
    assert whole["difference"] > -2
    assert whole["logits_identical_after_reload"] is True
    inspection = artifact.inspect(data)
    weights = [t for t in inspection.tensors if t.name.removesuffix(".weight") in SIZES]
    zeros = sum(t.zeros for t in weights)
    assert whole["nonzero_share"] == pytest.approx(1 - zeros / sum(SIZES.values()))
    assert max(t.levels for t in weights) == 2 ** whole["quant_bits"]
    # 32 / (share * length), the source's product with its quant_bits cancelled.
    assert whole["formula_ratio"] == pytest.approx(32 / (whole["nonzero_share"] * whole["huffman_length"]))
    assert whole["formula_ratio"] > whole["ratio"]


def test_the_six_files_load_without_pickle_and_agree_with_the_model(
    out: Path, results: dict[str, Any]
) -> None:
    before, pruned, shared = (
        torch.load(out / f"net_{stage}.pt", weights_only=True)
        for stage in ("before_pruning", "after_pruning", "after_quantization")
    )
    codebook = np.load(out / "codebook_resnet20.npy", allow_pickle=False)
    encoding = np.load(out / "huffman_encoding.npy", allow_pickle=False)
    frequencies = np.load(out / "huffman_freq.npy", allow_pickle=False)
    loaded = artifact.load(out / "model.pith").state_dict()
    for layer, name in enumerate(SIZES):
        key = f"{name}.weight"
        zero = shared[key] == 0
        assert torch.equal(pruned[key] == 0, zero)
        assert not (before[key] == 0).any()
        assert torch.equal(loaded[key] == 0, zero)
        assert torch.equal(loaded[key], shared[key].half().float())
        values, counts = np.unique(shared[key][~zero].numpy(), return_counts=True)
        np.testing.assert_array_equal(codebook[layer][~np.isnan(codebook[layer])], values)
        mine = frequencies["layer"] == layer
        np.testing.assert_array_equal(frequencies["count"][mine], counts)
        assert set(encoding["name"][mine]) == {name}
        assert sum(2.0 ** -encoding["length"][mine].astype(float)) == 1.0
    sizes = {r["what"]: r["bytes"] for r in rows(results, "4")}
    files = [name for name in sizes if name.startswith(("net_", "codebook", "huffman"))]
    assert len(files) == 6
    assert [sizes[name] for name in files] == [(out / name).stat().st_size for name in files]


def test_tables_plots_and_page_are_there(out: Path, results: dict[str, Any]) -> None:
    for item in "01234":
        assert len(read_csv(out / f"item{item}.csv")) >= 1
    positions = read_csv(out / "item3-positions.csv")
    assert [r["layer"] for r in positions] == [*SIZES, "all layers"]
    assert len(read_csv(out / "item3-codes.csv")) == len(rows(results, "3")[-5]["codes"])
    drawings = {"weights", "accuracy-by-bytes", "codebook-tuning", "code-length", "file-bytes"}
    assert {p.stem for p in out.glob("*.png")} == drawings
    for path in out.glob("*.png"):
        check_png(path)
    facts = {k: v for k, v in results.items() if k != "rows"}
    said = answers(EXPERIMENT, Notebook(out, facts, resume=True))
    check_page(out / "index.html", said)
    whole = rows(results, "4")[0]
    assert f"by the bytes of the file {whole['ratio']:.1f} times" in next(
        a.text for a in said if a.question == "How much smaller is it?"
    )


def test_resume_repeats_no_training(out: Path, results: dict[str, Any]) -> None:
    class NoTraining(Quiet):
        def batch(self, title: str, done: int, total: int) -> None:
            raise AssertionError(f"{title}: a finished training was repeated")

    data = (out / "model.pith").read_bytes()
    deep_compression.run(out, LabOptions(quick=True, resume=True), progress=NoTraining())
    assert read_results(out)["rows"] == results["rows"]
    assert (out / "model.pith").read_bytes() == data
