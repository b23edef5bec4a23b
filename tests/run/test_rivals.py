"""The trivial rivals are real bytes of what they say."""

from __future__ import annotations

import torch
import zstandard
from torch import nn

from pithnet import zoo
from pithnet.passes import prune, share
from pithnet.run.rivals import rivals
from pithnet.surgery import finalize


def model() -> nn.Module:
    torch.manual_seed(0)
    return zoo.build("digits-cnn", width=8).eval()


def test_float16_is_what_a_halved_state_dict_compresses_to() -> None:
    dense = model()
    halves = [v.half().numpy().tobytes() for v in dense.state_dict().values() if v.is_floating_point()]
    assert rivals(dense, dense)["float16 + zstd"] == len(zstandard.compress(b"".join(halves), 19))


def test_the_rivals_come_in_their_order_of_size() -> None:
    dense = model()
    sparse = model()
    prune(sparse, 0.9)
    found = rivals(dense, finalize(sparse))
    assert list(found) == ["float16 + zstd", "int8 + zstd", "pruned float16 + zstd"]
    assert found["pruned float16 + zstd"] < found["int8 + zstd"] < found["float16 + zstd"]
    numbers = sum(v.numel() for v in dense.state_dict().values() if v.is_floating_point())
    assert 0.8 * 2 * numbers < found["float16 + zstd"] <= 2.01 * numbers
    assert 0.8 * numbers < found["int8 + zstd"] < 1.3 * numbers


def test_pruning_is_the_only_thing_taken_from_the_result() -> None:
    dense, shared = model(), model()
    share(shared, 2)
    found = rivals(dense, finalize(shared))
    assert found["pruned float16 + zstd"] == found["float16 + zstd"], "levels are not the rival's"


def test_a_parametrized_model_has_the_rivals_of_its_plain_self() -> None:
    dense, masked = model(), model()
    prune(masked, 0.0)
    final = finalize(dense)
    assert rivals(masked, final) == rivals(dense, final)


def test_an_empty_weight_takes_no_bytes() -> None:
    dense = model()
    sizes = rivals(dense, dense)
    dense.empty = nn.Parameter(torch.zeros(5, 0))
    assert rivals(dense, dense) == sizes


def test_the_model_is_left_alone() -> None:
    dense = model()
    before = {k: v.clone() for k, v in dense.state_dict().items()}
    sparse = model()
    prune(sparse, 0.5)
    rivals(dense, finalize(sparse))
    assert all(torch.equal(v, before[k]) for k, v in dense.state_dict().items())
