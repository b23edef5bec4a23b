"""The loops of `lanes` that numba compiles: the bytes and the numbers of numpy alone, whatever the stream."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pithnet.coding import CodingError, compiled, lanes

_SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=12)


def _loops() -> ModuleType:
    pytest.importorskip("numba", reason="numba is missing: pip install numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(compiled.VARIABLE, "1")
        found = compiled.loops(0)
    assert found is not None
    return found


def _both(work: str, *given: object) -> list[object]:
    """What `lanes.encode` or `decode` gives with numpy alone and compiled: a result, or its error's words."""
    found: list[object] = []
    for choice in ("0", "1"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(compiled.VARIABLE, choice)
            try:
                found.append(getattr(lanes, work)(*given))
            except CodingError as e:
                found.append(str(e))
    return found


@settings(max_examples=40, deadline=None)
@given(data=st.data(), levels=st.sampled_from([1, 2, 15, 256]))
def test_any_symbols_give_the_same_bytes_and_back(data: st.DataObject, levels: int) -> None:
    _loops()
    symbols = data.draw(hnp.arrays(np.uint8, _SHAPES, elements=st.integers(0, levels - 1)))
    mask = np.broadcast_to(np.True_, symbols.shape)
    numpy_alone, fast = _both("encode", symbols.reshape(-1), mask)
    assert numpy_alone == fast
    for decoded in _both("decode", fast, symbols.size, mask):
        assert np.array_equal(decoded, symbols.reshape(-1))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(64, 128, 3, 3), (300, 256), (70_001,)])
def test_large_tensors_with_classes_and_a_tail_give_the_same_bytes(shape: tuple[int, ...]) -> None:
    _loops()
    rng = np.random.default_rng(0)
    spread = np.exp(rng.normal(size=(shape[0], *(1 for _ in shape[1:]))) * (len(shape) > 1))
    symbols = (np.clip(np.rint(rng.laplace(size=shape) * spread), -7, 7) + 7).astype(np.uint8)
    mask = np.broadcast_to(np.True_, shape)
    numpy_alone, fast = _both("encode", symbols.reshape(-1), mask)
    assert numpy_alone == fast
    assert all(np.array_equal(d, symbols.reshape(-1)) for d in _both("decode", fast, symbols.size, mask))  # type: ignore[arg-type]


def test_damaged_streams_end_alike() -> None:
    _loops()
    rng = np.random.default_rng(0)
    symbols = rng.binomial(14, 0.5, (20, 20, 3, 3)).astype(np.uint8)
    mask = np.broadcast_to(np.True_, symbols.shape)
    stream = lanes.encode(symbols.reshape(-1), mask)
    ended = set()
    for number in range(60):
        damaged = bytearray(stream)
        damaged[int(rng.integers(len(stream)))] ^= 1 << number % 8
        given_bytes = bytes(damaged[: len(stream) - 2 * (number % 3)])
        numpy_alone, fast = _both("decode", given_bytes, symbols.size, mask)
        assert type(numpy_alone) is type(fast)
        assert np.array_equal(numpy_alone, fast)  # type: ignore[arg-type]
        ended.add(str(numpy_alone)[:40])
    assert "the words of the lanes end too early" in " ".join(ended)


def test_numba_is_imported_where_much_is_coded_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    _loops()
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    monkeypatch.setattr(compiled._Coded, "symbols", 0)
    known = sys.modules.pop("numba")
    try:
        assert compiled.loops(compiled.WORTH - 1) is None
        monkeypatch.setenv(compiled.VARIABLE, "0")
        assert compiled.loops(1) is None
        monkeypatch.delenv(compiled.VARIABLE)
        assert compiled._Coded.symbols == compiled.WORTH
        assert compiled.loops(0) is not None
    finally:
        sys.modules["numba"] = known


def test_numpy_alone_does_it_where_numba_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.VARIABLE, "1")
    monkeypatch.setattr(compiled._Coded, "failed", False)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    assert compiled.loops(1) is None
    monkeypatch.setattr(compiled, "find_spec", lambda name: object())
    monkeypatch.delattr("pithnet.coding.lanes_compiled", raising=False)
    monkeypatch.setitem(sys.modules, "pithnet.coding.lanes_compiled", None)  # importing it is an error
    assert compiled.loops(1) is None
    assert compiled._Coded.failed
