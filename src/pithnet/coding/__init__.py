"""Integers <-> bytes: entropy coders for symbols and for the positions of non-zeros. numpy only."""

from pithnet.coding.entropy import average_length, entropy_bits
from pithnet.coding.errors import CodingError
from pithnet.coding.positions import POSITION_CODERS, decode_positions, encode_positions
from pithnet.coding.symbols import SYMBOL_CODERS, decode_symbols, encode_symbols

__all__ = [
    "POSITION_CODERS",
    "SYMBOL_CODERS",
    "CodingError",
    "average_length",
    "decode_positions",
    "decode_symbols",
    "encode_positions",
    "encode_symbols",
    "entropy_bits",
]
