"""Entropy coders inside records: one byte names the coder, so a better one needs no new format.

A coder that has no number yet is written as 0 followed by its name; numbers are never given to another coder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pithnet.artifact.packed import is_name
from pithnet.artifact.wire import Cursor, block
from pithnet.coding import (
    POSITION_CODERS,
    SYMBOL_CODERS,
    decode_positions,
    decode_symbols,
    encode_positions,
    encode_symbols,
)
from pithnet.errors import ArtifactError

_VALUE_WORK = 1  # what a symbol takes on its way to a number

SYMBOL_NUMBERS: Mapping[str, int] = {"huffman": 1, "rans": 2, "neighbours": 3, "lanes": 4}
POSITION_NUMBERS: Mapping[str, int] = {"constant": 1, "bitmap": 2, "gaps": 3, "kernels": 4}


def pack_symbols(symbols: np.ndarray, mask: np.ndarray, slowest: int = 2) -> bytes:
    """Writes a coder and its stream of symbols, by the smallest coder.

    Args:
        symbols: Integers 0 to 65,535, one for each True of `mask`.
        mask: Booleans of the record's shape.
        slowest: The most `slowness` of a coder that may be taken.
    """
    method, data = encode_symbols(symbols, mask=mask, slowest=slowest)
    return _coder(method, SYMBOL_NUMBERS) + data


def read_symbols(cursor: Cursor, mask: np.ndarray) -> tuple[np.ndarray, str]:
    """Reads the symbols from all that is left of a record.

    Args:
        cursor: Stands where `pack_symbols` began.
        mask: The mask that it was given.

    Returns:
        The symbols, uint8 or uint16, and their coder's name.

    Raises:
        ArtifactError: The coder's number is unknown, the coder got more or fewer symbols than an encoder
            gives it, or the stream decodes to another number of them.
        CodingError: The coder's name is unknown, or the stream is damaged.
    """
    count = int(np.count_nonzero(mask))
    method = _read_coder(cursor, SYMBOL_NUMBERS)
    _check_count(method, SYMBOL_CODERS, count)
    if method in SYMBOL_CODERS and count < SYMBOL_CODERS[method].auto_least:
        least = SYMBOL_CODERS[method].auto_least
        raise ArtifactError(f"gives {count} values to {method}, which takes {least} at least")
    cursor.spend(_VALUE_WORK * count)
    symbols = decode_symbols(method, cursor.rest("symbols"), count, mask=mask, spend=cursor.spend)
    if symbols.shape != (count,):
        raise ArtifactError(f"decodes to {symbols.size} symbols, {count} are due")
    return symbols, method


def pack_positions(mask: np.ndarray, slowest: int = 2) -> bytes:
    """Writes a coder, a length and a stream of a mask, by the smallest coder.

    Args:
        mask: Booleans, True for a value that is stored.
        slowest: The most `slowness` of a coder that may be taken.
    """
    method, data = encode_positions(mask, slowest=slowest)
    return _coder(method, POSITION_NUMBERS) + block(data)


def read_positions(cursor: Cursor, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Reads the mask that `pack_positions` wrote.

    Args:
        cursor: Stands where the positions begin.
        shape: The mask's shape.

    Returns:
        The mask, and its coder's name.

    Raises:
        ArtifactError: The coder's number is unknown, the coder got more positions than an encoder gives it,
            or the stream decodes to another shape.
        CodingError: The coder's name is unknown, or the stream is damaged.
    """
    method = _read_coder(cursor, POSITION_NUMBERS)
    _check_count(method, POSITION_CODERS, math.prod(shape))
    mask = decode_positions(method, cursor.block("positions"), shape, cursor.spend)
    if mask.shape != shape:
        raise ArtifactError(f"decodes to positions in {mask.shape}, {shape} are due")
    return mask, method


def _check_count(method: str, coders: Mapping[str, Any], count: int) -> None:
    """Refuses more than an encoder gives this coder: a slow one must not take hours over a hostile count."""
    if method in coders and count > coders[method].auto_limit:
        raise ArtifactError(
            f"gives {count} values to {method}, which takes {coders[method].auto_limit} at most"
        )


def _coder(method: str, numbers: Mapping[str, int]) -> bytes:
    number = numbers.get(method, 0)
    return bytes([number]) + (b"" if number else block(method.encode()))


def _read_coder(cursor: Cursor, numbers: Mapping[str, int]) -> str:
    number = cursor.byte()
    if number == 0:
        name = cursor.block().decode("ascii", errors="replace")
        if not is_name(name):
            raise ArtifactError("names its coder in unprintable characters")
        if name in numbers:
            raise ArtifactError(f"names the coder {name}, which has the number {numbers[name]}")
        return name
    for name, known in numbers.items():
        if known == number:
            return name
    raise ArtifactError(f"is coded by a coder this version does not know (number {number}); update pithnet")
