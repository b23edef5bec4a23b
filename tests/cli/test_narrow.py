"""Tables in a terminal of 80 columns: no name is cut, no line is longer, and what is left out is said."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

import pithnet as pn
from pithnet.artifact import inspect_file
from pithnet.cli.tables import inspection_table, plan_lines, plan_table

FILE = Path(__file__).parents[2] / "records" / "resnet20-own-smallest.pith"


def shown(part: object, width: int) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    file = io.StringIO()
    Console(file=file, width=width).print(part)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_plan_fits_and_counts_the_macs_of_a_large_network_in_millions() -> None:
    steps = [{"prune": {"sparsity": 0.8}}, {"share": {"levels": 8}}, {"train": {"epochs": 2}}]
    plan = pn.plan(pn.zoo.build("resnet20"), {"steps": steps}, example=torch.zeros(1, 3, 32, 32))
    lines = shown(plan_table(plan, "mine"), 80)
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Plan: mine (prune, share in every layer)"
    assert [line.split()[0] for line in lines[2:22]] == [layer.name for layer in plan.layers]
    assert lines[1].endswith("M MACs")
    assert [float(line.split()[-1]) for line in lines[2:22]] == [
        pytest.approx(layer.macs / 1e6, abs=0.005) for layer in plan.layers if layer.macs is not None
    ]
    assert "3. train for 2 epochs" in plan_lines(plan)


def test_a_plan_whose_layers_differ_says_the_passes_of_each() -> None:
    recipe = {"steps": [{"prune": {"sparsity": 0.5, "skip": ["conv1"]}}]}
    plan = pn.plan(pn.zoo.build("digits-cnn"), recipe, example=torch.zeros(1, 1, 8, 8))
    lines = shown(plan_table(plan, "mine"), 80)
    assert lines[0] == "Plan: mine"
    assert "as it is" in lines[2]
    assert lines[3].split()[3] == "prune"
    assert f"{plan.layers[0].macs:,}" == lines[2].split()[-1]


def test_an_inspection_leaves_out_columns_and_says_which() -> None:
    found = inspect_file(FILE)
    names = [tensor.name for tensor in found.tensors]
    wide = shown(inspection_table(found), 200)
    assert wide[0].split()[3:] == ["bytes", "bits", "zeros", "levels", "positions", "symbols", "codebook"]
    assert [line.split()[0] for line in wide[1:]] == names
    narrow = shown(inspection_table(found), 80)
    assert max(map(len, narrow)) <= 80
    assert narrow[0].split()[:4] == ["tensor", "shape", "coding", "bytes"]
    assert set(names) <= {line.split()[0] for line in narrow}
    assert "a wider terminal shows" in "\n".join(narrow)
    assert "symbols, codebook too" in " ".join(narrow)
