"""A restricted reader for the pickled files of CIFAR-10's Python layout.

Nothing that a file names is imported or called. The few names an array needs stand for the small classes
here, which only hold what the file says; numpy sees the raw bytes, never a pickled state.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pithnet.errors import DataError

MAX_BYTES = 1 << 26  # twice an official file: what is larger is not one
MAX_OPCODES = 1 << 18  # five times an official file


class _Sealed:
    """A class that refuses pickled state, so that a file cannot rewrite its attributes."""

    def __setstate__(self, state: object) -> None:
        raise DataError("it holds state where there should be none")


class _Marker(_Sealed):
    """A stand-in for numpy.ndarray where the class itself is an argument."""


class _Dtype:
    """A stand-in for numpy.dtype: its type string."""

    def __init__(self, code: object, *rest: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "|"

    def __setstate__(self, state: object) -> None:
        if (
            not isinstance(state, tuple)
            or len(state) < 2
            or state[1] not in ("<", ">", "|", b"<", b">", b"|")
        ):
            raise DataError("it holds a malformed array type")
        self.order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]

    def resolve(self) -> np.dtype[Any]:
        """Returns the integer dtype, and refuses any other kind."""
        if self.code not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
            raise DataError(f"it holds an array of type {self.code!r:.20}, not of integers")
        return np.dtype(f"{self.order}{self.code}")


class _Array:
    """A stand-in for numpy's _reconstruct: an empty array, filled by its state.

    The state is (version, shape, dtype, fortran, bytes).
    """

    def __init__(self, *ignored: object) -> None:
        self.state: tuple[Any, Any, Any, Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise DataError("it holds a malformed array")
        self.state = state[1:]

    def resolve(self) -> NDArray[np.integer]:
        """Returns the array, and refuses one whose shape, type and number of bytes do not agree."""
        shape, dtype, fortran, raw = self.state or (None, None, None, None)
        if (
            not isinstance(shape, tuple)
            or len(shape) > 4
            or not all(type(n) is int and n >= 0 for n in shape)
        ):
            raise DataError("it holds an array without a shape")
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
            raise DataError("it holds an array without type or bytes")
        kind = dtype.resolve()
        if math.prod(shape) * kind.itemsize != len(raw):
            raise DataError(f"it holds an array of shape {shape} with {len(raw)} bytes")
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")


class _Buffer(_Sealed):
    """A stand-in for numpy's _frombuffer(bytes, dtype, shape, order), as pickle protocol 5 writes arrays."""

    def __new__(cls, raw: object, dtype: object, shape: object, order: object, *rest: object) -> Any:
        array = _Array()
        array.__setstate__((1, shape, dtype, order == "F", raw))
        return array


class _Bytes(_Sealed):
    """A stand-in for _codecs.encode(text, "latin1"), as Python 3 writes bytes in old protocols."""

    def __new__(cls, text: object = "", encoding: object = "latin1") -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise DataError("it holds malformed bytes")
        return text.encode("latin1")


_NAMES: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Marker,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
    ("builtins", "bytes"): _Bytes,
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Array
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _NAMES:
            raise DataError(
                f"it names {f'{module}.{name}':.80}, which is not part of an array; nothing was executed"
            )
        return _NAMES[module, name]

    def persistent_load(self, pid: object) -> NoReturn:
        raise DataError("it refers to objects outside the file")


def read_python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Reads one file of the Python layout.

    Args:
        path: The file.

    Returns:
        The data, uint8 as stored, and the labels, integers (N,).

    Raises:
        DataError: The file is anything but a dictionary of integer arrays, lists, numbers and text; the
            message names it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"it has {path.stat().st_size:,} bytes, more than any CIFAR-10 file")
        # "bytes" keeps the byte strings of Python 2, pixels included, as they are.
        content = path.read_bytes()
        _check_opcodes(content)
        return _fields(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except DataError as error:
        raise DataError(f"{path} is not a CIFAR-10 batch: {error}.") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"{path} is not a CIFAR-10 batch: {type(error).__name__}: {error!s:.200}.") from error


def _check_opcodes(content: bytes) -> None:
    """Refuses what would fill the memory: a memo index makes the unpickler allocate a table so long."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        index = argument if opcode.name in ("PUT", "LONG_BINPUT") else None
        if count > MAX_OPCODES or (index is not None and index > MAX_OPCODES):
            raise DataError("it is longer than any CIFAR-10 file")


def _fields(batch: object) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    if not isinstance(batch, dict):
        raise DataError(f"it holds a {type(batch).__name__}, not a dictionary")
    data, labels = (batch.get(key.encode(), batch.get(key)) for key in ("data", "labels"))
    if not isinstance(data, _Array):
        raise DataError("it has no array 'data'")
    stored = data.resolve()
    if stored.dtype != np.uint8:
        raise DataError(f"its 'data' is {stored.dtype}, not uint8")
    pixels = stored.view(np.uint8)
    if isinstance(labels, _Array):
        return pixels, labels.resolve()
    if not isinstance(labels, list) or not all(type(n) is int and abs(n) < 1 << 31 for n in labels):
        raise DataError("it has no list of integers 'labels'")
    return pixels, np.array(labels, np.int64)
