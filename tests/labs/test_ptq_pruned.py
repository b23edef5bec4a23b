"""Item 1 of `lab ptq`: what the smallest weights cost, and that only the file becomes smaller."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pithnet import artifact, zoo
from pithnet.labs import LabOptions
from pithnet.labs.notebook import Notebook
from pithnet.labs.ptq import experiment as ptq
from pithnet.labs.ptq.pruned import EACH, GLOBAL, Pruning, prunings
from pithnet.labs.ptq.source import PRUNED
from pithnet.labs.writing import names_of, paragraph
from pithnet.run.progress import Quiet
from pithnet.surgery import finalize, weighted_layers

from .conftest import PRUNED_NETWORKS, keep_times
from .files import named_rows, read_csv, read_results, rows

SIZES = [288, 18_432, 36_864, 640]


def trained(ptq_lab: Path) -> dict[str, torch.Tensor]:
    """The weights of the quick lab's float network."""
    return torch.load(ptq_lab / "state" / "baseline.pt", weights_only=True)["model"]


def test_a_share_of_zeros_is_exact_in_each_layer_or_in_all(ptq_lab: Path) -> None:
    found = rows(read_results(ptq_lab), "1")
    wanted = prunings(ptq.QUICK.shares)
    assert [r["what"] for r in found] == [p.what for p in wanted]
    start = zoo.build("digits-cnn")
    start.load_state_dict(trained(ptq_lab))
    for row, one in zip(found, wanted, strict=True):
        assert (row["network"], row["weights"]) == ("digits-cnn", sum(SIZES))
        zeros = [int((layer.weight == 0).sum()) for _, layer in weighted_layers(one.of(start))]
        assert row["zeros"] == sum(zeros)
        if one.among == EACH:
            assert zeros == [round(one.share * n) for n in SIZES]
        else:
            assert row["zeros"] == round(one.share * sum(SIZES))
        # Not fine-tuned: the accuracy is the untuned one, and the lab has no source for this network.
        assert row["accuracy"] == row["untuned"]
        assert "epochs" not in row
        assert "source" not in row


def test_one_ranking_stands_beside_the_same_share_of_each_layer(ptq_lab: Path) -> None:
    found = named_rows(read_results(ptq_lab), "1")
    base = found["nothing pruned"]
    assert base["accuracy"] == named_rows(read_results(ptq_lab), "0")["float"]["accuracy"]
    for share in ptq.QUICK.shares:
        each, ranked = found[Pruning(share).what], found[Pruning(share, GLOBAL).what]
        assert ranked["rival"] == each["what"]
        gained = 100 * (ranked["accuracy"] - each["accuracy"])
        assert ranked["rival_difference"] == pytest.approx(gained)
        assert "rival" not in each
        assert each["difference"] == pytest.approx(100 * (each["accuracy"] - base["accuracy"]))


def test_zeros_make_the_file_smaller_and_nothing_else(ptq_lab: Path) -> None:
    found = named_rows(read_results(ptq_lab), "1")
    numbers = sum(t.numel() for t in zoo.build("digits-cnn").state_dict().values() if t.is_floating_point())
    assert {r["memory_bytes"] for r in found.values()} == {4 * numbers + 3 * 8}  # and three batch counters
    for among in (EACH, GLOBAL):
        sizes = [found[Pruning(share, among).what]["bytes"] for share in (0.0, 0.9)]
        assert sizes[1] < sizes[0] / 4
    start = zoo.build("digits-cnn")
    start.load_state_dict(trained(ptq_lab))
    assert found["90 %, each layer"]["bytes"] == len(artifact.encode(finalize(Pruning(0.9).of(start))))
    listed = read_csv(ptq_lab / "item1-sizes.csv")
    assert [float(r["ms"]) for r in listed] == [r["ms"] for r in found.values()]
    assert all(r["ms_low"] <= r["ms"] <= r["ms_high"] for r in found.values())


def test_epochs_fine_tune_with_the_zeros_kept(ptq_lab: Path, tmp_path: Path) -> None:
    keep_times(tmp_path / "lab", "times-of-pruned-networks", PRUNED_NETWORKS)
    torch.save(trained(ptq_lab), tmp_path / "weights.pt")
    options = LabOptions(quick=True, items="1", epochs=2, weights=tmp_path / "weights.pt")
    ptq.run(tmp_path / "lab", options, progress=Quiet())
    results, whole = read_results(tmp_path / "lab"), named_rows(read_results(ptq_lab), "1")
    assert results["epochs"] == {"baseline": 0, "pruned": 2}
    base, each, ranked = rows(results, "1")
    assert "epochs" not in base
    for row in (each, ranked):
        before = whole[row["what"]]
        assert (row["untuned"], row["zeros"]) == (pytest.approx(before["untuned"], abs=0.01), before["zeros"])
        assert row["masks_exact"] is True
        assert row["epochs"] == 2
        assert row["best_over_test_epochs"] >= row["accuracy"]
    # Nine of ten weights gone leave chance, and two epochs win most of it back: 0.95 to 0.97 over five seeds.
    assert ranked["accuracy"] > ranked["untuned"] + 0.3


def test_the_source_s_numbers_stand_beside_its_own_way_alone(tmp_path: Path) -> None:
    assert list(PRUNED["vgg16"]) == list(PRUNED["resnet18"]) == [0.0, *ptq.FULL.shares]
    book = Notebook(tmp_path, {"lab": "ptq", "epochs": {"pruned": 0}}, progress=Quiet())
    takes = {"bytes": 100, "memory_bytes": 400, "ms": 1.0, "ms_low": 0.9, "ms_high": 1.1}
    row = {"network": "resnet18", **takes}
    book.row("1", "nothing pruned", lambda: row | {"share": 0.0, "accuracy": 0.94, "source": 0.9412})
    each = row | {"share": 0.7, "accuracy": 0.8, "source": 0.8265, "bytes": 60}
    points = {"rival_difference": 5.0, "rival_difference_low": 4.0, "rival_difference_high": 6.0}
    rival = {"rival": "70 %, each layer", **points}
    book.row("1", "70 %, each layer", lambda: each)
    slow = {"ms": 2.0, "ms_low": 1.9, "ms_high": 2.1}
    book.row("1", "70 %, one ranking", lambda: each | {"accuracy": 0.85, "source": None} | rival | slow)
    said = paragraph(ptq.EXPERIMENT, "1", names_of(ptq.EXPERIMENT, book))
    assert (
        "With 70 % pruned, each layer alike has 80.00 % and one ranking 85.00 %: +5.00 (+4.00 to +6.00) "
        "points. The source, which prunes each layer alike, has 82.65 %."
    ) in said
    assert said.count("The source") == 1
    assert "takes 400 bytes with every share of zeros" in said
    assert (
        "for 1 of the 2 pruned ones the middle half of the rounds overlaps with that of the unpruned" in said
    )
