"""`--pruned FILE` of lab fixed-point: where item 3 begins, and what is refused before anything is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.errors import PithError
from pithnet.labs import LabOptions
from pithnet.labs.fixed_point import experiment as fixed_point
from pithnet.labs.pruned_start import correlation, read_pruned
from pithnet.labs.start import open_bench
from pithnet.labs.training import exactly_zero, zero_places
from pithnet.passes import prune, quantize
from pithnet.run.progress import Quiet
from pithnet.surgery import restore

from .files import named_rows, read_results

Change = Callable[[nn.Module], object]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return zoo.build("digits-cnn")


def save(path: Path, model: nn.Module, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict(), "history": [], **more}, path)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pt"
    torch.save(network(5).state_dict(), file)
    return file


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """What the pruning lab keeps of a network with as many zeros, in a folder of that lab's form."""
    model = network(5)
    prune(model, 0.7, scope="global")
    return save(tmp_path / "pruning" / "state" / "iterative-global.pt", model)


def test_item_3_begins_with_the_file_s_network(
    weights: Path, pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_point, "QUICK", replace(fixed_point.QUICK, bits=(4,), trained=(4,)))
    options = LabOptions(
        quick=True, weights=weights, pruned=pruned, items="1,2,3", levels="source", teacher="none"
    )
    fixed_point.run(tmp_path / "lab", options, progress=Quiet())
    results = read_results(tmp_path / "lab")
    assert results["pruned"] == {
        "file": "iterative-global.pt",
        "sha256": hashlib.sha256(pruned.read_bytes()).hexdigest(),
        "origin": "not recorded",
        "correlation": 1.0,
    }
    assert results["epochs"]["pruning"] == 0
    assert {r["levels"] for r in results["rows"] if "levels" in r} == {"source"}
    found = named_rows(results, "3")
    start = found.pop("pruned, float, from iterative-global.pt")
    assert start["zeros"] == round(0.7 * start["weights"])
    assert [(what, row["masks_exact"], row["teacher"]) for what, row in found.items()] == [
        ("source, 4 bits, blocks", True, "none")
    ]
    places = zero_places(restore(network(5), torch.load(pruned, weights_only=True)["model"]))
    trained = torch.load(tmp_path / "lab" / "state" / "pruned-source-4-bits-blocks.pt", weights_only=True)
    assert exactly_zero(restore(network(5), trained["model"]), places)
    page = (tmp_path / "lab" / "index.html").read_text()
    assert "which network it was pruned from is recorded nowhere beside it" in page
    other = network(5)
    prune(other, 0.6, scope="global")
    save(pruned, other)
    with pytest.raises(PithError, match=r"was measured with pruned\.sha256"):
        fixed_point.run(tmp_path / "lab", replace(options, resume=True), progress=Quiet())


def quantized(model: nn.Module) -> None:
    prune(model, 0.7)
    quantize(model, 4, fit="range")


@pytest.mark.parametrize(
    ("seed", "change", "more", "message"),
    [
        (
            6,
            lambda m: prune(m, 0.7),
            {},
            "from another network than --weights weights.pt: .* correlate .* -?0.0",
        ),
        (5, lambda m: None, {}, "has no masks; --pruned takes a pruned network's state_dict"),
        (5, quantized, {}, "is quantized already; --pruned takes a network that is only pruned"),
        (5, lambda m: prune(m, 0.7), {"trainer": {}}, "was cut off; finish that lab with --resume first"),
    ],
)
def test_a_file_that_item_3_cannot_begin_with_is_refused(
    weights: Path, tmp_path: Path, seed: int, change: Change, more: dict[str, Any], message: str
) -> None:
    model = network(seed)
    change(model)
    file = save(tmp_path / "file.pt", model, **more)
    with pytest.raises(PithError, match=message):
        fixed_point.run(
            tmp_path / "out", LabOptions(quick=True, weights=weights, pruned=file), progress=Quiet()
        )
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_architecture_is_refused(weights: Path, tmp_path: Path) -> None:
    model = zoo.build("digits-cnn", width=8)
    prune(model, 0.7)
    file = save(tmp_path / "narrow.pt", model)
    with pytest.raises(PithError, match=r"narrow\.pt is no pruned digits-cnn: conv\d\.weight is \["):
        fixed_point.run(
            tmp_path / "out", LabOptions(quick=True, weights=weights, pruned=file), progress=Quiet()
        )
    with pytest.raises(PithError, match="--pruned FILE needs --weights FILE"):
        fixed_point.run(tmp_path / "out", LabOptions(quick=True, pruned=file), progress=Quiet())
    assert not (tmp_path / "out").exists()


def lab_results(pruned: Path, weights: dict[str, str] | None) -> None:
    """What the pruning lab says beside the file."""
    content = {"lab": "pruning", "weights": weights, "rows": []}
    (pruned.parent.parent / "results.json").write_text(json.dumps(content))


def test_the_float_network_is_the_one_its_lab_names(weights: Path, pruned: Path, tmp_path: Path) -> None:
    bench = open_bench(tmp_path, LabOptions(quick=True, weights=weights), batch_size=64)
    mine = bench.facts()["weights"]
    lab_results(pruned, mine)
    assert read_pruned(pruned, bench).facts["origin"] == "results.json of its lab"
    lab_results(pruned, {"file": "other.pt", "sha256": "0" * 16})
    with pytest.raises(PithError, match=r"was pruned from other\.pt \(SHA-256 0{16}.* weights\.pt \("):
        read_pruned(pruned, bench)
    lab_results(pruned, None)
    assert read_pruned(pruned, bench).facts["origin"] == "not recorded"
    save(pruned.parent / "baseline.pt", network(5))
    assert read_pruned(pruned, bench).facts["origin"] == "baseline.pt of its lab"
    save(pruned.parent / "baseline.pt", network(6))
    with pytest.raises(
        PithError, match=r"was pruned from .*baseline\.pt, which is not --weights weights\.pt"
    ):
        read_pruned(pruned, bench)


def test_networks_of_other_seeds_do_not_correlate() -> None:
    for seed in range(5):
        model = network(seed)
        prune(model, 0.7, scope="global")
        assert correlation(model, network(seed)) == pytest.approx(1)
        assert abs(correlation(model, network(seed + 10))) < 0.1
