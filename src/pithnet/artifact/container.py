"""The frame of a .pith file: magic, version, header, records, checksums; not what the records hold."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from torch import nn

from pithnet.artifact.layout import (
    Entry,
    Record,
    implied,
    layout_of,
    pack_layout,
    records,
    unpack_layout,
)
from pithnet.artifact.metadata import Metadata, from_header, to_header
from pithnet.artifact.packed import unpacked
from pithnet.artifact.skeleton import skeleton
from pithnet.artifact.wire import Cursor, block
from pithnet.coding.bitpack import put_varint
from pithnet.errors import ArtifactError, ModelError
from pithnet.surgery import Untold

MAGIC = b"PITH"
VERSION = 1
VERSION_WITH_WIDTHS = 2
CRC_BYTES = 4
_MAX_HEADER = 1 << 22
_MAX_UNTOLD = 1 << 20
_NOTHING = Untold()


@dataclass(frozen=True)
class Opened:
    """A file whose frame and checksums are right; the bodies of its records are not decoded yet.

    Attributes:
        metadata: What the file says about its model.
        layout: The tensors, in the file's order.
        aliases: Name of a tensor -> name of the tensor that holds its numbers.
        counters: Batch counters without a record, by name, where they are not 0.
        records: What each record holds.
        bodies: The bytes of each record.
        network: The zoo's network without numbers, where the file's layout is that network's.
        untold: How a network that is none of the zoo's was cut, as far as shapes do not tell.
        header_bytes: The bytes of magic, version and header.
        size: The bytes of the file.
    """

    metadata: Metadata
    layout: tuple[Entry, ...]
    aliases: Mapping[str, str]
    counters: Mapping[str, int]
    records: tuple[Record, ...]
    bodies: tuple[memoryview, ...]
    network: nn.Module | None
    untold: Untold
    header_bytes: int
    size: int


def pack(
    metadata: Metadata,
    layout: Sequence[Entry] | None,
    aliases: Sequence[int],
    counters: Sequence[int],
    bodies: Iterable[bytes],
    untold: Untold = _NOTHING,
) -> bytes:
    """Returns the bytes of a file.

    Args:
        metadata: What the file says about its model.
        layout: The tensors; None where the architecture implies them.
        aliases: Pairs of places in the layout, of a tensor and of the one that holds its numbers.
        counters: Pairs of a place in the layout and the number that stands there.
        bodies: The records.
        untold: How the network was cut, as far as shapes do not tell.

    Raises:
        ArtifactError: The metadata does not go into a header, or makes it too long.
    """
    entries = to_header(metadata)
    if layout is not None:
        entries["l"] = pack_layout(layout)
    if aliases:
        entries["t"] = list(aliases)
    if counters:
        entries["k"] = list(counters)
    if untold.sizes or untold.written:
        entries["z"] = zlib.compress(msgpack.packb(untold.to_plain()), 9)
    try:
        header = msgpack.packb(entries)
    except (TypeError, ValueError, OverflowError) as e:
        raise ArtifactError(f"the metadata does not go into a header: {e}") from None
    if len(header) > _MAX_HEADER:
        raise ArtifactError(f"the header would take {len(header)} bytes; at most {_MAX_HEADER} are allowed")
    version = VERSION_WITH_WIDTHS if metadata.has_widths else VERSION
    parts = [MAGIC, bytes([version]), block(header)]
    for body in bodies:
        parts += [put_varint(len(body)), body, _crc(body)]
    return b"".join([*parts, _crc(*parts)])


def unpack(data: bytes) -> Opened:
    """Checks the frame and the checksums of a file.

    Raises:
        ArtifactError: The header or a record is wrong; the message names it.
    """
    _check_start(data)
    content = memoryview(data)[:-CRC_BYTES]
    whole = data[-CRC_BYTES:] == _crc(content)
    cursor = Cursor(content[len(MAGIC) + 1 :])
    try:
        header = _read_header(cursor)
        metadata = from_header(header, widths=data[len(MAGIC)] >= VERSION_WITH_WIDTHS)
        network, layout = _layout(header, metadata)
        aliases = _aliases(_pairs(header, "t"), layout)
        counters = _counters(_pairs(header, "k"), layout)
        untold = _untold(header.get("z"))
    except ArtifactError as e:
        if whole:
            raise
        raise ArtifactError(f"header: damaged or cut short, get the file again ({e})") from e
    header_bytes = len(data) - CRC_BYTES - cursor.left
    plan = records(layout, aliases)
    bodies = [_read_frame(cursor, i, record) for i, record in enumerate(plan)]
    if not whole:
        raise ArtifactError(
            "header: damaged, get the file again (the checksum of the whole file does not match)"
        )
    if cursor.left:
        raise ArtifactError(f"{cursor.left} bytes follow the last record; a .pith file ends there")
    return Opened(
        metadata,
        layout,
        aliases,
        counters,
        tuple(plan),
        tuple(bodies),
        network,
        untold,
        header_bytes,
        len(data),
    )


def _crc(*parts: bytes | memoryview) -> bytes:
    """Returns the checksum of these parts, one after the other."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc.to_bytes(CRC_BYTES, "little")


def _check_start(data: bytes) -> None:
    if data[: len(MAGIC)] != MAGIC:
        raise ArtifactError("not a .pith file: it does not start with PITH")
    if len(data) < len(MAGIC) + 2 + CRC_BYTES:
        raise ArtifactError(f"header: cut short, the file has only {len(data)} bytes")
    version = data[len(MAGIC)]
    if not VERSION <= version <= VERSION_WITH_WIDTHS:
        raise ArtifactError(
            f"header: format version {version}, this pithnet reads versions {VERSION} to "
            f"{VERSION_WITH_WIDTHS}; update pithnet"
        )


def _read_header(cursor: Cursor) -> dict[str, Any]:
    size = cursor.varint()
    if size > _MAX_HEADER:
        raise ArtifactError(f"header: declares {size} bytes, at most {_MAX_HEADER} are allowed")
    try:
        packed = cursor.take(size)
    except ArtifactError as e:
        raise ArtifactError(f"header: {e}") from None
    header = unpacked(packed)
    if not isinstance(header, dict):
        raise ArtifactError("header: not a map")
    return header


def _layout(header: Mapping[str, Any], metadata: Metadata) -> tuple[nn.Module | None, tuple[Entry, ...]]:
    if "l" in header:
        if not isinstance(header["l"], bytes):
            raise ArtifactError("header: entry 'l' is not of the form docs/format.md gives it")
        return None, unpack_layout(header["l"])
    if metadata.architecture is None:
        raise ArtifactError("header: names neither an architecture nor its tensors")
    network = skeleton(metadata.architecture, metadata.arguments)
    return network, layout_of(network.state_dict())


def _pairs(header: Mapping[str, Any], key: str) -> list[tuple[int, int]]:
    numbers = header.get(key, [])
    if not isinstance(numbers, list) or len(numbers) % 2 or not all(type(i) is int for i in numbers):
        raise ArtifactError(f"header: entry {key!r} is not of the form docs/format.md gives it")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _untold(entry: object) -> Untold:
    if entry is None:
        return _NOTHING
    inflater = zlib.decompressobj()
    try:
        content = unpacked(inflater.decompress(entry, _MAX_UNTOLD))  # type: ignore[arg-type]
        if inflater.eof and not inflater.unused_data:
            return Untold.from_plain(content)
    except (zlib.error, TypeError, ArtifactError, ModelError):
        pass
    raise ArtifactError("header: entry 'z' is not of the form docs/format.md gives it")


def _counters(pairs: Sequence[tuple[int, int]], layout: Sequence[Entry]) -> dict[str, int]:
    free, found = implied(layout) if pairs else set(), dict[str, int]()
    for place, count in pairs:
        if not 0 <= place < len(layout) or layout[place].name not in free - found.keys():
            raise ArtifactError(f"header: tensor {place} is no batch counter without a record")
        if not -(1 << 63) <= count < 1 << 63:
            raise ArtifactError(f"header: {layout[place].name} is {count}, more than int64 holds")
        found[layout[place].name] = count
    return found


def _aliases(pairs: Sequence[tuple[int, int]], layout: Sequence[Entry]) -> dict[str, str]:
    found: dict[str, str] = {}
    holders = {holder for _, holder in pairs}
    for alias, holder in pairs:
        if not 0 <= holder < alias < len(layout):
            raise ArtifactError(f"header: tensor {alias} is tied to {holder}, which does not come before it")
        a, h = layout[alias], layout[holder]
        if (a.shape, a.dtype) != (h.shape, h.dtype) or a.name in found or alias in holders:
            raise ArtifactError(f"header: {a.name} cannot share the numbers of {h.name}")
        found[a.name] = h.name
    return found


def _read_frame(cursor: Cursor, index: int, record: Record) -> memoryview:
    try:
        body = cursor.view(cursor.varint())
        crc = cursor.take(CRC_BYTES)
    except ArtifactError as e:
        raise ArtifactError(f"record {index} ({record.label}): {e}") from None
    if crc != _crc(body):
        raise ArtifactError(
            f"record {index} ({record.label}): damaged, its checksum does not match; get the file again"
        )
    return body
