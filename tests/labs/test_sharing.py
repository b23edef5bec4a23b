from __future__ import annotations

import copy

import pytest
import torch

from pithnet.labs.deep_compression.sharing import (
    Reference,
    clustering_columns,
    most_distinct_values,
    sharing_columns,
)
from pithnet.labs.workbench import Workbench
from pithnet.passes import prune, share
from pithnet.surgery import weighted_layers


def test_a_network_agrees_with_itself_and_less_with_a_coarse_copy(small_bench: Workbench) -> None:
    model = small_bench.model()
    with torch.no_grad():
        model.linear.weight.mul_(30)  # type: ignore[operator,union-attr]  # an untrained network is sure of nothing
    reference = Reference(model, small_bench.choice_batches())
    assert reference.compare(model) == {"kl": pytest.approx(0.0, abs=1e-7), "agreement": 1.0}
    share(model, 1)
    coarse = reference.compare(model)
    # Two values a layer: ten of twelve answers change here; over five seeds 0.035 nats at least.
    assert coarse["kl"] > 1e-3
    assert coarse["agreement"] < 1.0


def test_memory_is_counted_and_zeros_are_compared(small_bench: Workbench) -> None:
    before = small_bench.model()
    prune(before, 0.5)
    after = copy.deepcopy(before)
    share(after, 3)
    # 56,224 weights, half of them zero, 3 bits each; four layers with eight values of four bytes.
    expected = {"nonzeros": 28_112, "index_bytes": 10_542, "codebook_bytes": 128, "zeros_kept": True}
    assert sharing_columns(after, before, 3) == expected
    assert most_distinct_values(after) == 8
    assert sharing_columns(after, small_bench.model(), 3)["zeros_kept"] is False


@pytest.mark.parametrize("init", ["linear", "random", "kmeans++"])
def test_inertia_is_that_of_the_shared_weights(small_bench: Workbench, init: str) -> None:
    before = small_bench.model()
    after = copy.deepcopy(before)
    share(after, 3, init=init, generator=torch.Generator().manual_seed(7))
    found = clustering_columns(before, 3, init, torch.Generator().manual_seed(7))
    pairs = zip(weighted_layers(before), weighted_layers(after), strict=True)
    with torch.no_grad():
        squares = sum(float((a.weight - b.weight).double().square().sum()) for (_, a), (_, b) in pairs)
    assert found["inertia"] == pytest.approx(squares, rel=1e-5)
    assert found["iterations"] > found["most_iterations"] > 1
