"""Files made to hurt, with every checksum right."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import msgpack
import numpy as np
import pytest
import torch

from hostile.outcome import outcome
from hostile.reseal import reseal
from pithnet.artifact import Metadata, decode, inspect
from pithnet.artifact.coders import SYMBOL_NUMBERS, pack_positions, pack_symbols
from pithnet.artifact.codings import CODINGS
from pithnet.artifact.container import MAGIC, pack
from pithnet.artifact.layout import Entry
from pithnet.artifact.wire import block, signed
from pithnet.coding import SYMBOL_CODERS, CodingError, encode_positions, encode_symbols
from pithnet.coding.bitpack import put_varint
from pithnet.coding.blocks import block_bits, blocks_of, unblock
from pithnet.errors import ArtifactError


def _entry(*shape: int, dtype: torch.dtype = torch.float32, name: str = "layer.weight") -> Entry:
    return Entry(name, shape, dtype)


def _file(body: bytes, *shape: int, dtype: torch.dtype = torch.float32) -> bytes:
    return pack(Metadata(), [_entry(*shape, dtype=dtype)], [], [], [body])


def _with_header(header: object, *bodies: bytes) -> bytes:
    packed = header if isinstance(header, bytes) else msgpack.packb(header)
    framed = b"".join(block(body) + bytes(4) for body in bodies)
    return reseal(MAGIC + b"\x01" + block(packed) + framed + bytes(4))


EVERYWHERE = np.ones((4, 4), bool)
SYMBOLS = pack_symbols(np.arange(16), EVERYWHERE)
LAYOUT = zlib.compress(msgpack.packb([["a", "b", "c"], bytes(3), [[2, 2], [2, 2], [2, 3]]]))
_NAMES = ["running_mean", "running_var", "num_batches_tracked"]
COUNTED = zlib.compress(msgpack.packb([_NAMES, b"\0\0\7", [[3], [3], []]]))
CHAIN = zlib.compress(msgpack.packb([["a", "b", "c"], bytes(3), [[2, 2], [2, 2], [2, 2]]]))
NESTED = b"\x81\xa1r" + b"\x81\xa1x" * 2000 + b"\xc0"


def _nested(levels: int) -> object:
    return {"x": _nested(levels - 1)} if levels else 1


RECORDS = {
    "empty": (b"", "ends too early"),
    "unknown coding": (b"\x30", "coding this version does not know"),
    "sparse raw": (b"\x80" + bytes(64), "coding this version does not know"),
    "short raw": (b"\x00" + bytes(63), "64 bytes are due, 63 are left"),
    "long raw": (b"\x00" + bytes(65), "1 bytes too many"),
    "long constant": (b"\x03" + bytes(5), "5 bytes for one float32"),
    "bomb": (b"\x01" + zlib.compress(bytes(10_000_000)), "does not inflate to the 64 bytes"),
    "no zlib": (b"\x01" + b"nothing", "does not inflate"),
    "wide mantissa": (b"\x04\x18" + SYMBOLS, "mantissas of 24 bits"),
    "large exponent": (
        b"\x04\x00" + pack_symbols(np.arange(500, 516), EVERYWHERE),
        "sign and exponent of 515",
    ),
    "far shift": (b"\x05" + signed(301) + signed(0) + SYMBOLS, "shift of 301"),
    "far grid": (b"\x05" + signed(0) + signed(1 << 27) + SYMBOLS, "starts at 134217728"),
    "far scaled grid": (b"\x07" + bytes(4) + signed(-1 << 27) + SYMBOLS, "starts at -134217728"),
    "beyond the codebook": (b"\x08\x0e\x20" + bytes(30) + SYMBOLS, "level 15 of a codebook of 15"),
    "descending codebook": (
        b"\x08\x0f\x00" + struct.pack("<16f", *range(16, 0, -1)) + SYMBOLS,
        "levels descend",
    ),
    "numbered coder by name": (
        b"\x05\x00\x00\x00" + block(b"rans"),
        "names the coder rans, which has the number 2",
    ),
    "few values in lanes": (
        b"\x05\x00\x00\x04" + bytes(9),
        "gives 16 values to lanes, which takes 65536 at least",
    ),
    "large codebook": (b"\x08" + put_varint(1 << 16) + SYMBOLS, "codebook of 65537 levels"),
    "cut codebook": (b"\x08\x0f\x20" + bytes(9), "32 bytes are due, 9 are left"),
    "unknown codebook": (b"\x08\x0f\x13", "codebook of a kind"),
    "endless varint": (b"\x05" + b"\xff" * 30, "longer than"),
    "unknown symbol coder": (b"\x05\x00\x00\xfe", "coder this version does not know"),
    "unknown named coder": (b"\x05\x00\x00\x00" + block(b"magic"), "'magic'"),
    "unprintable coder": (b"\x05\x00\x00\x00" + block(b"\x1b[2J"), "unprintable"),
    "unknown position coder": (b"\x85\xfe", "coder this version does not know"),
    "long positions": (b"\x85\x02" + put_varint(1 << 33), "8589934592 bytes are due"),
    "no factor": (b"\x09\x00\x00", "factor of 0"),
    "large factor": (b"\x09\x00" + put_varint(1025), "factor of 1025"),
    "far row grid": (b"\x09\x00\x01" + signed(1 << 16), "starts at 65536"),
    "wide remainders": (b"\x09\x00\x01\x00\x21\x00" + bytes(40), "fields of 33 bits"),
    "cut remainders": (b"\x09\x00\x01\x00\x20\x00" + bytes(9), "16 bytes are due, 9 are left"),
    "no float scale": (b"\x09\x00\x01\x00\x00\x00\x00\x00" + put_varint(1 << 31) + SYMBOLS, "no float32"),
    "far shifted scale": (b"\x09\x00\x01\x00\x00\x00\x00\x20\x00" + SYMBOLS, "shifted by 32"),
    "infinite scale": (
        b"\x09\x00\x01\x00\x00\x00\x01\x1f" + put_varint(1) + b"\xf0" + SYMBOLS,
        "no finite float32",
    ),
    "group beyond a row": (b"\x09" + put_varint(1 << 40) + put_varint(1), "groups of 1099511627776 values"),
    "few symbols": (
        b"\x05\x00\x00" + pack_symbols(np.arange(300) % 7, np.ones(300, bool)),
        "damaged|truncated|stream",
    ),
}


@pytest.mark.parametrize("case", RECORDS)
def test_records_that_lie_are_refused_by_name(case: str) -> None:
    body, message = RECORDS[case]
    with pytest.raises(ArtifactError, match=message) as caught:
        decode(_file(body, 4, 4))
    assert str(caught.value).startswith("record 0 (layer.weight): ")
    with pytest.raises(ArtifactError, match=message):
        inspect(_file(body, 4, 4))


def test_float_codings_are_refused_for_integers() -> None:
    body = b"\x03" + bytes(4)
    with pytest.raises(ArtifactError, match=r"coding 3, .* holds torch\.int64"):
        decode(_file(body, 4, dtype=torch.int64))


@pytest.mark.parametrize("method", SYMBOL_CODERS)
def test_a_small_stream_that_declares_many_symbols_is_soon_refused(method: str) -> None:
    # One level: a model under which a symbol costs no bits at all.
    _, one_level = encode_symbols(np.zeros(9, int), method, mask=np.ones(9, bool))
    body = b"\x05\x00\x00" + bytes([SYMBOL_NUMBERS[method]]) + one_level
    shape = (1 << 11, 1 << 11)
    try:
        state, _ = decode(_file(body, *shape))
    except ArtifactError:
        return
    assert state["layer.weight"].shape == shape


def test_memory_is_not_taken_before_the_limit_is_checked() -> None:
    many = _file(b"\x03\x3f", 1 << 30, 1 << 30)
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="declares 1152921504606846976 numbers, at most 268435456"):
        decode(many)
    with pytest.raises(ArtifactError, match="at most 1000 are allowed"):
        decode(_with_header({"a": ["resnet20", {"classes": 1 << 20}]}, *[b"\0"] * 25), max_elements=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0, 2)])
@pytest.mark.parametrize("number", CODINGS)
def test_no_coding_trips_over_an_empty_tensor(number: int, shape: tuple[int, ...]) -> None:
    for body in (b"", b"\0" * 5, b"\x05\x01" + bytes(9)):
        for sparse in (0, 0x80):
            what = outcome(_file(bytes([number | sparse]) + body, *shape), 100)
            assert what == "read" or what.startswith("record 0 (layer.weight): ")


def test_infinite_levels_are_numbers_like_others() -> None:
    state, _ = decode(_file(b"\x05" + signed(-300) + signed(1) + SYMBOLS, 4, 4))
    assert bool(state["layer.weight"].isinf().all())
    half = _file(b"\x05" + signed(-20) + signed(-1) + SYMBOLS, 4, 4, dtype=torch.float16)
    assert decode(half)[0]["layer.weight"].dtype == torch.float16


def test_sparse_streams_of_the_wrong_shape_are_refused() -> None:
    body = b"\x85" + pack_positions(np.eye(9, dtype=bool)) + b"\0\0" + SYMBOLS
    with pytest.raises(ArtifactError, match=r"record 0 \(layer\.weight\)"):
        decode(_file(body, 4, 4))


HEADERS = {
    "no msgpack": (b"\xc1", "not msgpack"),
    "empty": (b"", "not msgpack"),
    "two values": (b"\x80\x80", "not msgpack"),
    "a list": ([1, 2], "not a map"),
    "numbers as keys": ({1: 2}, "not msgpack"),
    "too deep": (NESTED, "header: "),
    "too deep by one": ({"l": LAYOUT, "r": _nested(32)}, "nested more than 32 levels"),
    "a key twice": (b"\x82\xa1d\xa1a\xa1d\xa1b", "the key 'd' comes twice"),
    "a key of bytes": (b"\x81\xc4\x01d\xa1a", "a key of a map is no string"),
    "an extension": (
        {"l": LAYOUT, "r": {"x": msgpack.ExtType(5, b"a")}},
        "ExtType is none of the plain values",
    ),
    "tied in a chain": ({"l": CHAIN, "t": [2, 1, 1, 0]}, "cannot share the numbers"),
    "a date for a recipe": ({"l": LAYOUT, "r": {"x": msgpack.Timestamp(1)}}, "plain values"),
    "nothing said": ({}, "neither an architecture nor its tensors"),
    "unknown architecture": ({"a": ["resnet21"]}, "Did you mean .*resnet20"),
    "odd arguments": ({"a": ["resnet20", {"depth": 3}]}, "cannot be built"),
    "list of arguments": ({"a": ["resnet20", {"classes": [1]}]}, "use strings and numbers"),
    "layout is text": ({"l": "abc"}, "entry 'l'"),
    "ties are text": ({"l": LAYOUT, "t": "ab"}, "entry 't'"),
    "odd ties": ({"l": LAYOUT, "t": [1]}, "entry 't'"),
    "tied to itself": ({"l": LAYOUT, "t": [1, 1]}, "tied to 1, which does not come before"),
    "tied to a later one": ({"l": LAYOUT, "t": [0, 1]}, "tied to 1, which does not come before"),
    "tied beyond the end": ({"l": LAYOUT, "t": [9, 0]}, "tensor 9 is tied"),
    "tied to a negative place": ({"l": LAYOUT, "t": [1, -1]}, "tied to -1"),
    "tied to another shape": ({"l": LAYOUT, "t": [2, 1]}, "c cannot share the numbers of b"),
    "counters are text": ({"l": COUNTED, "k": "ab"}, "entry 'k'"),
    "odd counters": ({"l": COUNTED, "k": [2]}, "entry 'k'"),
    "a counter with a record": ({"l": COUNTED, "k": [0, 7]}, "tensor 0 is no batch counter"),
    "a counter beyond the end": ({"l": COUNTED, "k": [3, 7]}, "tensor 3 is no batch counter"),
    "a counter twice": ({"l": COUNTED, "k": [2, 7, 2, 8]}, "tensor 2 is no batch counter"),
    "a counter too large": ({"l": COUNTED, "k": [2, 2**63]}, "more than int64 holds"),
    "tied twice": ({"l": LAYOUT, "t": [1, 0, 1, 0]}, "b cannot share"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_lie_are_refused(case: str) -> None:
    header, message = HEADERS[case]
    with pytest.raises(ArtifactError, match=message) as caught:
        decode(_with_header(header))
    assert str(caught.value).startswith("header: ")


def test_a_header_beyond_its_bound_is_refused() -> None:
    data = MAGIC + b"\x01" + put_varint(1 << 33) + bytes(50)
    with pytest.raises(ArtifactError, match="declares 8589934592 bytes, at most 4194304"):
        decode(reseal(data))


def test_records_are_as_many_as_the_layout_says() -> None:
    body = b"\x03\x3f"
    three = {"l": LAYOUT}
    decode(_with_header(three, body, body, body))
    with pytest.raises(ArtifactError, match=r"record 2 \(c\): "):
        decode(_with_header(three, body, body))
    with pytest.raises(ArtifactError, match="bytes follow the last record"):
        decode(_with_header(three, body, body, body, body))


@pytest.mark.parametrize("data", [b"", b"PIT", b"PITH", b"PITH\x01", b"PITH\x01\0\0\0\0", b"\x80\x04K\x01."])
def test_stubs_are_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"not a \.pith file|cut short"):
        decode(data)


def test_another_version_asks_for_an_update() -> None:
    with pytest.raises(ArtifactError, match=r"format version 3, .* update pithnet"):
        decode(b"PITH\x03" + bytes(20))


def test_bools_are_zero_or_one() -> None:
    state, _ = decode(_file(b"\0" + struct.pack("4B", 0, 1, 1, 0), 2, 2, dtype=torch.bool))
    assert state["layer.weight"].tolist() == [[False, True], [True, False]]
    for byte in (2, 255):
        with pytest.raises(ArtifactError, match="a bool that is neither 0 nor 1"):
            decode(_file(b"\0" + struct.pack("4B", 0, 1, byte, 0), 2, 2, dtype=torch.bool))


def test_names_may_be_of_any_script_but_not_control_a_terminal() -> None:
    for name, good in (("café.\u200b\u0378", True), ("a\x9bb", False), ("a\x7f", False), ("a\nb", False)):
        layout = zlib.compress(msgpack.packb([[name], bytes(1), [[1]]]))
        if good:
            assert list(decode(_with_header({"l": layout}, b"\x03\x3f"))[0]) == [name]
            continue
        with pytest.raises(ArtifactError, match="tensor table is not of the form"):
            decode(_with_header({"l": layout}, b"\x03\x3f"))


def test_bits_that_fill_up_bytes_and_tiles_are_zero() -> None:
    scales = b"\x00\x00" + put_varint(0x3F800000)
    odd = pack_symbols(np.arange(12), np.ones((3, 4), bool))
    for filling, good in ((b"\xe0", True), (b"\xe1", False)):
        body = b"\x09\x00\x01\x00\x01\x00" + filling + scales + odd
        what = outcome(_file(body, 3, 4), 100)
        assert what == ("read" if good else f"record 0 (layer.weight): {_FILLING}")
    tile = np.arange(16).reshape(2, 8) == 7
    body = b"\x83\x04" + block(encode_positions(tile, "kernels")[1]) + b"\x3f"
    assert outcome(_file(body, 2, 8), 100) == "read"
    with pytest.raises(CodingError, match="behind the last position of a row are not zero"):
        unblock(blocks_of(tile, block_bits((2, 8))), block_bits((2, 8))._replace(run=7, length=7), (2, 7))


_FILLING = "the bits behind the last field are not zero: the stream is damaged"


def test_aliases_resolve_to_one_tensor() -> None:
    state, _ = decode(_with_header({"l": LAYOUT, "t": [1, 0]}, b"\x03\x3f", b"\x03\x40"))
    assert state["a"] is state["b"]


def test_a_scale_per_row_needs_rows() -> None:
    with pytest.raises(ArtifactError, match="stand in no rows"):
        decode(_file(b"\x09\x00\x01\x00" + bytes(9), 16))
