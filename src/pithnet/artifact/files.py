"""Files on disk: written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from pithnet.artifact.decoder import decode
from pithnet.artifact.inspection import Inspection, inspect
from pithnet.atomic import write_atomic
from pithnet.errors import ArtifactError, PithError


def save(path: str | Path, data: bytes) -> None:
    """Writes a file so that `path` holds either all of it or what it held before, even through a crash.

    Args:
        path: The file.
        data: Its bytes.

    Raises:
        ArtifactError: The file cannot be written.
    """
    try:
        write_atomic(Path(path), data)
    except PithError as e:
        raise ArtifactError(str(e)) from None


def read(path: str | Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
        ArtifactError: The file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ArtifactError(f"cannot be read: {e.strerror or e}") from None


def inspect_file(path: str | Path) -> Inspection:
    """Returns the account of a file.

    Raises:
        ArtifactError: The file is missing or damaged; the message names the path.
    """
    with naming(path):
        return inspect(read(path))


def decode_file(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a file by name.

    Raises:
        ArtifactError: The file is missing or damaged; the message names the path.
    """
    with naming(path):
        return decode(read(path))[0]


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Lets the ArtifactErrors of a block begin with the path.

    Args:
        path: The file.

    Yields:
        Nothing, once.

    Raises:
        ArtifactError: The block raised one.
    """
    try:
        yield
    except ArtifactError as e:
        says_it = str(e).startswith(str(path))
        raise ArtifactError(str(e) if says_it else f"{path}: {e}") from e
