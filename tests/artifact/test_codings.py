"""One law for all codings: what a coding plans, it reads back bit for bit; else it says None."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pithnet.artifact import coders, floats
from pithnet.artifact.codebook import pack_codebook, read_codebook
from pithnet.artifact.codings import CODINGS
from pithnet.artifact.layout import Entry, Record
from pithnet.artifact.record import decode_record, encode_record
from pithnet.artifact.values import Block, Sites
from pithnet.artifact.wire import Cursor
from pithnet.coding import POSITION_CODERS, SYMBOL_CODERS
from pithnet.errors import ArtifactError

_ON_GRID = st.integers(-40, 40).map(lambda k: k / 8)
_FEW = st.sampled_from([0.0, -0.0, 0.1, -0.3, 1e-40, float("inf"), 3e38])
_HALF = st.floats(width=16, allow_nan=False)
_ANY = st.floats(width=32, allow_nan=False)
VALUES = st.one_of(
    *[hnp.arrays(np.float32, st.integers(1, 60), elements=e) for e in (_ON_GRID, _FEW, _HALF, _ANY)]
)


def _block(values: np.ndarray, *sizes: int) -> Block:
    mask = np.ones(values.shape, bool)
    return Block(values.reshape(-1), Sites.of(mask, (*sizes, values.size - sum(sizes))))


def _read(number: int, block: Block) -> np.ndarray | None:
    plan = CODINGS[number].plan(block)
    if plan is None:
        return None
    symbols = b"" if plan.symbols is None else coders.pack_symbols(plan.symbols, block.sites.mask)
    cursor = Cursor(plan.side() + symbols)
    values, _ = CODINGS[number].read(cursor, block.sites)
    cursor.finish()
    return values


@pytest.mark.parametrize("number", CODINGS)
@given(values=VALUES, cut=st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_what_a_coding_plans_it_reads_back(number: int, values: np.ndarray, cut: int) -> None:
    cut = min(cut, values.size)
    read = _read(number, _block(values, cut, 0))
    assert read is None or floats.same(read, values)


FITTING = {
    2: np.array([1.5, -0.0, 65504, 6e-8], np.float16).astype(np.float32),
    3: np.full(9, np.float32(1 - 1e-5)),
    4: np.frombuffer(bytes(range(64)), "<f4"),
    5: np.array([0.25, -3, 2.5, 0], np.float32),
    6: np.array([0.25, -3, 2.0**-20, 3 * 2.0**-20], np.float32),
    7: np.arange(-3, 4).astype(np.float32) * np.float32(0.1),
    8: np.array([0.1, np.pi, -0.0, np.nan] * 3, np.float32),
    9: np.array([[3, -1, 0], [7, 2, -5]], np.float32) * np.array([[0.1], [1e-9]], np.float32),
    10: np.array([[3, -1, 0], [7, 2, -5]], np.float32) * np.array([0.1, 1e-9, 7.0], np.float32),
}


@pytest.mark.parametrize("number", CODINGS)
def test_each_coding_takes_what_it_is_made_for(number: int) -> None:
    values = FITTING[number]
    read = _read(number, _block(values, 2))
    assert read is not None
    assert floats.same(read, values.reshape(-1))


def test_every_coder_has_a_number_of_its_own() -> None:
    for numbers, known in (
        (coders.SYMBOL_NUMBERS, SYMBOL_CODERS),
        (coders.POSITION_NUMBERS, POSITION_CODERS),
    ):
        assert set(numbers) == set(known)
        assert len(set(numbers.values()) - {0}) == len(numbers)


def test_a_coder_without_a_number_is_named_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coders, "SYMBOL_NUMBERS", {})
    everywhere = np.ones(9, bool)
    data = coders.pack_symbols(np.arange(9) % 3, everywhere)
    assert data[0] == 0
    symbols, _ = coders.read_symbols(Cursor(data), everywhere)
    assert symbols.tolist() == [0, 1, 2] * 3
    with pytest.raises(ArtifactError, match="does not know"):
        coders.read_symbols(Cursor(b"\x63"), everywhere)


def test_slow_coders_get_no_more_than_the_encoder_gives_them() -> None:
    method, limit = min(((n, c.auto_limit) for n, c in SYMBOL_CODERS.items()), key=lambda pair: pair[1])
    data = bytes([coders.SYMBOL_NUMBERS[method], 0])
    with pytest.raises(ArtifactError, match=f"{method}, which takes {limit} at most"):
        coders.read_symbols(Cursor(data), np.ones(limit + 1, bool))


@pytest.mark.parametrize(
    ("levels", "size"),
    [
        (np.array([0.1, 0.2, np.pi]), 13),  # float32
        (np.array([0.1, 0.2, 0.3], np.float16), 7),  # float16
        (np.array([-0.5, 0.25, 0.5]), 4),  # steps of 3 and 1 quarters, two bits each
        (np.array([0.25]), 3),  # one level: no steps
    ],
)
def test_codebooks_take_the_shortest_form(levels: np.ndarray, size: int) -> None:
    values = levels.astype(np.float32)
    data = pack_codebook(values)
    assert len(data) == size
    assert floats.same(read_codebook(Cursor(data), values.size), values)


def _record(shape: tuple[int, ...]) -> Record:
    return Record("w", (Entry("w", shape, torch.float32),))


@given(hnp.arrays(np.uint32, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)))
@example(np.zeros((0, 2, 2), np.uint32))
@settings(max_examples=25, deadline=None)
def test_a_record_gives_any_bit_pattern_back(patterns: np.ndarray) -> None:
    values = torch.from_numpy(np.atleast_1d(patterns).view(np.float32).reshape(patterns.shape).copy())
    record = _record(patterns.shape)
    decoded = decode_record(encode_record([values], record), record)
    assert np.array_equal(decoded.values.numpy().view(np.uint32), patterns.reshape(-1))


@pytest.mark.parametrize("shape", [(1, 7), (1, 3, 2, 2), (2, 7)])
def test_a_tensor_of_one_row_has_a_scale_per_row(shape: tuple[int, ...]) -> None:
    values = np.arange(-3, np.prod(shape) - 3, dtype=np.float32).reshape(shape) * np.float32(0.1)
    block = _block(values)
    read = _read(9, block)
    assert read is not None
    assert floats.same(read, values.reshape(-1))
    record = _record(shape)
    decoded = decode_record(encode_record([torch.from_numpy(values)], record), record)
    assert floats.same(decoded.values.numpy(), values.reshape(-1))


@pytest.mark.parametrize("levels", [2, 4, 16])
def test_sparse_records_cost_their_entropy(levels: int) -> None:
    rng = np.random.default_rng(levels)
    book = (rng.permutation(255)[:levels] - 127) / 256
    mask = rng.random((32, 32, 3, 3)) < 0.15
    values = np.where(mask, book[rng.integers(0, levels, mask.shape)], 0).astype(np.float32)
    p = mask.mean()
    entropy = mask.size * (-p * np.log2(p) - (1 - p) * np.log2(1 - p) + p * np.log2(levels)) / 8
    record = _record(mask.shape)
    body = encode_record([torch.from_numpy(values)], record)
    assert len(body) < 1.02 * entropy + 50
    decoded = decode_record(body, record)
    assert np.array_equal(decoded.values.numpy(), values.reshape(-1))
    assert sum(decoded.spent.values()) == len(body)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("group", "factor"), [(0, 1), (0, 16), (32, 1), (64, 8)])
def test_a_scale_per_row_costs_its_rows_and_the_entropy(group: int, factor: int, sparse: bool) -> None:
    rng = np.random.default_rng(group + factor)
    q = np.clip(np.rint(rng.normal(0, 2, (64, 200))), -7, 7).astype(int)
    rows = 64 * (-(-200 // group) if group else 1)
    place = np.arange(64)[:, None] * (rows // 64) + (np.arange(200) // group if group else 0)
    scales = np.float32(2.0) ** rng.uniform(-6, -3, rows).astype(np.float32).round(2)
    remainders = rng.integers(0, factor, rows)
    values = (factor * q + remainders[place]).astype(np.float32) * scales[place]
    if sparse:
        values[rng.random(values.shape) < 0.6] = 0
    record = _record(values.shape)
    body = encode_record([torch.from_numpy(values)], record)
    assert body[0] & 127 == 9
    assert np.array_equal(decode_record(body, record).values.numpy(), values.reshape(-1))
    kept = values.reshape(-1) != 0 if sparse or factor > 1 else np.ones(values.size, bool)
    _, counts = np.unique(q.reshape(-1)[kept], return_counts=True)
    entropy = -(counts * np.log2(counts / counts.sum())).sum() / 8
    positions = values.size * 0.971 / 8 if sparse else 0
    assert len(body) < 1.03 * (entropy + positions) + rows * (3.2 + (factor > 1) * 0.6) + 60


def test_rows_that_are_almost_on_a_grid_are_not_given_one() -> None:
    values = np.arange(-6, 6, dtype=np.float32).reshape(2, 6) * np.array([[0.1], [0.3]], np.float32)
    assert CODINGS[9].plan(_block(values)) is not None
    for wrong in (
        np.nextafter(values[1, 3], np.float32(1)),
        np.float32("nan"),
        np.float32("inf"),
        np.float32(-0.0),
    ):
        other = values.copy()
        other[1, 3] = wrong
        read = _read(9, _block(other))
        assert read is None or floats.same(read, other.reshape(-1))
    assert CODINGS[9].plan(_block(np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32))) is None


@pytest.mark.parametrize("shape", [(40, 30), (3, 40, 30)])
@pytest.mark.parametrize("sparse", [False, True])
def test_columns_take_what_their_rows_take_when_turned(shape: tuple[int, ...], sparse: bool) -> None:
    generator = np.random.default_rng(0)
    k = np.rint(generator.normal(scale=3, size=shape)).clip(-7, 7)
    k = np.where(generator.random(shape) < 0.5, 0, k) if sparse else k
    scales = generator.integers(2048, 4096, (*shape[:-2], 1, shape[-1])) * 2.0**-15
    values = (k * scales).astype(np.float32) + np.float32(0)
    turned = np.ascontiguousarray(np.swapaxes(values, -1, -2)).reshape(-1, shape[-2])
    bodies = []
    for number, tensor in ((10, values), (9, turned)):
        mask = tensor != 0 if sparse else np.ones(tensor.shape, bool)
        block = Block(tensor[mask], Sites.of(mask, (tensor.size,)))
        plan = CODINGS[number].plan(block)
        assert plan is not None
        assert plan.symbols is not None
        bodies.append(plan.side() + coders.pack_symbols(plan.symbols, mask))
        assert floats.same(CODINGS[number].read(Cursor(bodies[-1]), block.sites)[0], block.values)
    assert len(bodies[0]) == pytest.approx(len(bodies[1]), rel=0.03)


def test_columns_that_are_almost_on_a_grid_are_not_given_one() -> None:
    values = np.arange(-6, 6, dtype=np.float32).reshape(6, 2) * np.array([0.1, 0.3], np.float32)
    assert CODINGS[10].plan(_block(values)) is not None
    for place in ((0, 0), (3, 1)):
        for wrong in (np.float32("nan"), np.float32("inf"), np.float32(-0.0), np.float32(0.1234567)):
            other = values.copy()
            other[place] = wrong
            read = _read(10, _block(other))
            assert read is None or floats.same(read, other.reshape(-1))
