from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.run.measurements import BINS, MOST_CELLS, MOST_LEVELS, measurements, sparsity


def _layer(weight: torch.Tensor, bias: bool = False) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    layer.weight = nn.Parameter(weight)
    return layer


def _grid(layer: dict) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(layer["grid"]["shares"]))
    return np.frombuffer(data, np.uint8).reshape(layer["grid"]["rows"], layer["grid"]["columns"])


def test_counts_are_those_of_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    before = torch.randn(40, 30, generator=g)
    after = torch.where(before.abs() < 0.5, 0.0, before)
    (layer,) = measurements(_layer(before), _layer(after))["layers"]
    span = (layer["low"], layer["high"])
    assert span == (float(before.min()), float(before.max()))
    expected, _ = np.histogram(before.double().numpy(), BINS, span)
    assert layer["before"] == expected.tolist()
    expected, _ = np.histogram(after[after != 0].double().numpy(), BINS, span)
    assert layer["after"] == expected.tolist()
    assert layer["levels"] is None, f"more than {MOST_LEVELS} values are no levels"


def test_levels_are_the_distinct_values_and_zero_is_none() -> None:
    weight = torch.tensor([[0.5, 0.0, -0.25, 0.5], [0.0, 0.0, 0.5, -0.25]])
    (layer,) = measurements(_layer(torch.ones(2, 4)), _layer(weight))["layers"]
    assert layer["levels"] == [(-0.25, 2), (0.5, 3)]
    assert sum(layer["after"]) == 5


def test_a_cell_is_a_kernel_and_only_empty_ones_are_zero() -> None:
    conv = nn.Conv2d(2, 3, 3, bias=False)
    weight = torch.zeros(3, 2, 3, 3)
    weight[0, 0] = 1.0
    weight[2, 0, 1, 1] = 1.0
    conv.weight = nn.Parameter(weight)
    (layer,) = measurements(conv, conv)["layers"]
    np.testing.assert_array_equal(_grid(layer), [[255, 0], [0, 0], [29, 0]])
    assert layer["empty"] == {"kernels": 4, "rows": 1, "columns": 1}
    assert layer["name"] == "weight"


def test_large_layers_are_averaged_to_blocks() -> None:
    weight = torch.zeros(3 * MOST_CELLS, 10)
    weight[0, 0] = 1.0
    weight[-3:] = 1.0
    (layer,) = measurements(_layer(weight), _layer(weight))["layers"]
    cells = _grid(layer)
    assert cells.shape == (MOST_CELLS, 10)
    assert cells[0].tolist() == [85, *[0] * 9]
    assert cells[-1].tolist() == [255] * 10


def test_a_layer_of_another_shape_has_no_before_and_tied_ones_count_once() -> None:
    small = nn.Sequential(_layer(torch.ones(2, 2)), _layer(torch.ones(2, 2), bias=True))
    small[1].weight = small[0].weight
    layers = measurements(nn.Sequential(_layer(torch.ones(3, 2))), small)["layers"]
    assert [(layer["name"], layer["before"]) for layer in layers] == [("0.weight", None)]


def test_an_empty_layer_can_be_measured() -> None:
    (layer,) = measurements(_layer(torch.zeros(2, 3)), _layer(torch.zeros(2, 3)))["layers"]
    assert (layer["levels"], sum(layer["after"]), sum(layer["before"])) == ([], 0, 6)


def test_sparsity_is_that_of_the_effective_weights() -> None:
    model = nn.Sequential(_layer(torch.arange(1.0, 41.0).reshape(4, 10)), nn.ReLU())
    assert sparsity(model) == 0.0
    pn.prune(model, 0.75)
    assert sparsity(model) == pytest.approx(0.75)
    assert sparsity(nn.ReLU()) == 0.0


def test_a_run_leaves_its_measurements_and_a_page_without_gaps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = pn.zoo.build("digits-cnn", width=4)
    batches = [(torch.rand(16, 1, 8, 8), torch.randint(0, 10, (16,))) for _ in range(3)]
    steps = [
        {"prune": {"sparsity": 0.5}, "train": {"epochs": 2}},
        {"share": {"bits": 3}, "train": {"epochs": 1}},
    ]
    recipe = pn.Recipe.model_validate({"name": "short", "steps": steps})
    result = pn.compress(model, batches, batches, recipe, out=tmp_path / "run")
    page = result.report(tmp_path / "page.html").read_text()
    assert "Not in this report" not in page
    measured = json.loads((tmp_path / "run" / "measurements.json").read_text())["layers"]
    stored = {t["name"]: t for t in result.results["tensors"] if len(t["shape"]) > 1}
    assert [layer["name"] for layer in measured] == list(stored)
    for layer in measured:
        tensor = stored[layer["name"]]
        assert (len(layer["levels"]), tensor["dtype"]) == (tensor["levels"], "float32")
        assert sum(n for _, n in layer["levels"]) == sum(layer["before"]) - tensor["zeros"]
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    zeros = [e["sparsity"] for e in events if e["event"] == "epoch"]
    assert zeros == [pytest.approx(0.5, abs=0.01)] * 3
    assert sorted(f.name for f in (tmp_path / "page-figures").iterdir()) == [
        f"{n}.png"
        for n in ("layers", "parts", "ratios", "sizes", "stages", "timeline", "training", "weights", "zeros")
    ]
