"""Which tensors a file holds, in which order, and which of them share a record."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import torch
from torch import Tensor

from pithnet.artifact.packed import is_name, unpacked_table
from pithnet.errors import ArtifactError

# A dtype's number in the file is its place here: append, never reorder.
DTYPES: tuple[torch.dtype, ...] = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.bool,
)
_MAX_LAYOUT_BYTES = 1 << 22
_MAX_ENTRIES = 1 << 15
_MAX_DIMENSIONS = 16
_MAX_LENGTH = 1 << 31
_MAX_PRODUCT = 1 << 62  # of lengths, where 0 counts as 1: torch computes strides of empty tensors too


@dataclass(frozen=True)
class Entry:
    """One entry of a plain state_dict."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def words(self) -> int:
        """The number of elements, those of more than four bytes as often as they have four bytes."""
        return self.size * max(self.dtype.itemsize // 4, 1)


@dataclass(frozen=True)
class Record:
    """Entries whose values are coded together, one after the other.

    Attributes:
        label: What messages call the record.
        entries: The tensors.
        norm: Whether they are vectors of BatchNorm layers.
    """

    label: str
    entries: tuple[Entry, ...]
    norm: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that positions are coded in: the tensor's own, or one long vector."""
        return self.entries[0].shape if len(self.entries) == 1 else (self.size,)

    @property
    def size(self) -> int:
        """The number of elements."""
        return sum(e.size for e in self.entries)


def check_state(state: Mapping[str, Tensor]) -> None:
    """Checks that a file can hold every entry of a state_dict.

    Raises:
        ArtifactError: An entry is not a dense real tensor, has a name that cannot be printed, or too many
            dimensions; the message names the first such entry.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.dtype not in DTYPES:
            kind = f"{value.layout} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            raise ArtifactError(f"{name} is a {kind}; a .pith file holds dense real tensors only")
        if not is_name(name):
            raise ArtifactError(f"{name!r} cannot be printed, as names in a .pith file must; rename it")
        if not _is_shape(list(value.shape)):
            raise ArtifactError(
                f"{name} is {list(value.shape)}; a .pith file holds at most {_MAX_DIMENSIONS} dimensions, "
                f"each below {_MAX_LENGTH}; reshape it"
            )


def layout_of(state: Mapping[str, Tensor]) -> tuple[Entry, ...]:
    """Returns the layout of a state_dict.

    Raises:
        ArtifactError: A file cannot hold an entry; see `check_state`.
    """
    check_state(state)
    return tuple(Entry(name, tuple(value.shape), value.dtype) for name, value in state.items())


def norm_prefixes(layout: Iterable[Entry]) -> set[str]:
    """Returns the prefixes (`layer1.0.bn1.`) of the modules that keep a running mean and variance."""
    names = {e.name for e in layout if e.dtype.is_floating_point}
    means = {n.removesuffix("running_mean") for n in names if _last(n) == "running_mean"}
    return {p for p in means if p + "running_var" in names}


def implied(layout: Sequence[Entry]) -> set[str]:
    """Returns the names of entries without a record: BatchNorm's batch counters, 0 unless the header says."""
    counters = {p + "num_batches_tracked" for p in norm_prefixes(layout)}
    return {e.name for e in layout if e.name in counters and e.dtype == torch.int64 and e.shape == ()}


def records(layout: Sequence[Entry], aliases: Mapping[str, str]) -> list[Record]:
    """Returns the records of a file, in order.

    A tensor of two or more dimensions has its own. Vectors and scalars of one dtype and last name share one,
    those of BatchNorm layers apart from the others; it stands where its first member stands in the layout.

    Args:
        layout: The tensors.
        aliases: Name of a tensor -> name of the tensor that holds its numbers.
    """
    norms, skipped = norm_prefixes(layout), implied(layout)
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in layout:
        if entry.name in skipped or entry.name in aliases:
            continue
        last = _last(entry.name)
        norm = entry.name[: len(entry.name) - len(last)] in norms
        key = (entry.name,) if len(entry.shape) > 1 else (norm, last, entry.dtype)
        groups.setdefault(key, []).append(entry)
    return [Record(_label(members), tuple(members), norm=key[0] is True) for key, members in groups.items()]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _label(members: list[Entry]) -> str:
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return members[0].name + more


def pack_layout(layout: Sequence[Entry]) -> bytes:
    """Writes names, dtypes and shapes, deflated: files carry them where no zoo architecture implies them."""
    table = [
        [e.name for e in layout],
        bytes(DTYPES.index(e.dtype) for e in layout),
        [list(e.shape) for e in layout],
    ]
    return zlib.compress(msgpack.packb(table), 9)


def unpack_layout(data: bytes) -> tuple[Entry, ...]:
    """Reads the layout that `pack_layout` wrote.

    Raises:
        ArtifactError: The bytes are anything else, which is found before they take much memory.
    """
    inflater = zlib.decompressobj()
    try:
        packed = inflater.decompress(data, _MAX_LAYOUT_BYTES)
    except zlib.error as e:
        raise ArtifactError(f"header: the tensor table is damaged ({e})") from None
    try:
        names, dtypes, shapes = unpacked_table(packed, _MAX_ENTRIES, _MAX_DIMENSIONS)
        good = inflater.eof and not inflater.unused_data and _is_table(names, dtypes, shapes)
    except ValueError:
        good = False
    if not good:
        raise ArtifactError("header: the tensor table is not of the form docs/format.md gives it")
    if len(set(names)) != len(names):
        raise ArtifactError("header: two tensors have one name")
    return tuple(Entry(n, tuple(s), DTYPES[d]) for n, d, s in zip(names, dtypes, shapes, strict=True))


def _is_table(names: list[str], dtypes: bytes, shapes: list[list[int]]) -> bool:
    return (
        len(names) == len(dtypes) == len(shapes)
        and all(is_name(n) for n in names)
        and all(d < len(DTYPES) for d in dtypes)
        and all(_is_shape(s) for s in shapes)
    )


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= _MAX_DIMENSIONS
        and all(type(d) is int and 0 <= d < _MAX_LENGTH for d in shape)
        and math.prod(max(d, 1) for d in shape) < _MAX_PRODUCT
    )
