"""The bytes of streams: files out there must decode for ever, so other bytes need a new method name."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pithnet.coding import POSITION_CODERS, SYMBOL_CODERS, encode_positions, encode_symbols

_POSITIONS = {
    "bitmap": (144, "393ca2fc65ff566e"),
    "gaps": (120, "5a0bc532b170bb18"),
    "kernels": (123, "698403ae66c05123"),
}
_SYMBOLS = {
    "huffman": (113, "a79c61dba592da74"),
    "rans": (109, "4a466b3f1021e40f"),
    "neighbours": (112, "0f0023fcee78d0b8"),
    "lanes": (138, "bca4aa3439f9c602"),
}


def _mask_and_symbols() -> tuple[np.ndarray, np.ndarray]:
    """Made of integers only: no generator whose stream could change."""
    i = np.arange(16 * 8 * 9)
    mask = ((i * i * 7 + i // 5 * 3) % 23 < 6).reshape(16, 8, 3, 3)
    return mask, ((i * i * 3 + i // 7) % 29 % 7)[mask.ravel()]


def _print(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()[:16]


def test_every_coder_is_listed_here() -> None:
    assert set(_POSITIONS) == set(POSITION_CODERS) - {"constant"}
    assert set(_SYMBOLS) == set(SYMBOL_CODERS)


@pytest.mark.parametrize("method", _POSITIONS)
def test_positions_keep_their_bytes(method: str) -> None:
    assert _print(encode_positions(_mask_and_symbols()[0], method)[1]) == _POSITIONS[method]


@pytest.mark.parametrize("method", _SYMBOLS)
def test_symbols_keep_their_bytes(method: str) -> None:
    mask, symbols = _mask_and_symbols()
    assert _print(encode_symbols(symbols, method, mask)[1]) == _SYMBOLS[method]


def test_many_lanes_keep_their_bytes() -> None:
    symbols = np.tile(_mask_and_symbols()[1], 500)
    assert _print(encode_symbols(symbols, "huffman")[1]) == (53_262, "bcce44dbeaa5d454")
