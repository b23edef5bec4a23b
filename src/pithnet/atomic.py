"""Folders, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pithnet.errors import PithError

_SUFFIX = ".part"
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def write_atomic(path: Path, data: bytes | memoryview, advice: str = "or choose another folder") -> None:
    """Writes `data` beside `path`, syncs it and renames it: a crash leaves the old file or the new one.

    Args:
        path: The file.
        data: Its content.
        advice: How the error's message goes on after "free some space".

    Raises:
        PithError: The file cannot be written.
    """
    with staged(path, advice) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def staged(path: Path, advice: str = "or choose another folder") -> Iterator[Path]:
    """Gives a path to write a file to, which becomes `path` when the block ends and is gone when it fails.

    The path lies in a folder of its own and its last name is that of `path`, because torch.save writes that
    name into the file. A killed process leaves the folder: see `sweep`.

    Args:
        path: The file.
        advice: How the error's message goes on after "free some space".

    Yields:
        The path to write to.

    Raises:
        PithError: The file system refused: an OSError, in the block or after it.
    """
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-", suffix=_SUFFIX))
        part = folder / path.name
        yield part
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)  # else a power cut could take the new name back
    except OSError as e:
        raise not_written(path, e, advice) from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def make_folder(path: Path, advice: str = "choose another --out") -> None:
    """Makes a folder, and those it lies in where they are missing.

    Args:
        path: The folder.
        advice: How the error's message ends.

    Raises:
        PithError: The folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise PithError(f"{path} cannot be created: {e.strerror}; {advice}") from None


def sweep(folder: Path) -> None:
    """Removes what a killed process was writing below `folder`; nobody may be writing there now."""
    for left in list(folder.rglob(f".*{_SUFFIX}")):
        shutil.rmtree(left, ignore_errors=True)


def sweep_file(path: Path) -> None:
    """Removes what killed processes were writing of that file alone; nobody may be writing it now."""
    for left in list(path.parent.glob(f".{path.name}-*{_SUFFIX}")):
        shutil.rmtree(left, ignore_errors=True)


def not_written(path: Path, error: OSError, advice: str = "or choose another folder") -> PithError:
    """Returns what to tell a user whose file could not be written.

    Args:
        path: The file.
        error: What the file system said.
        advice: How the message goes on after "free some space".
    """
    if error.errno == errno.ENOENT and not path.parent.is_dir():
        return PithError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    remedy = "make the folder writable" if error.errno in _CLOSED else "free some space"
    return PithError(f"{path} cannot be written: {error.strerror}; {remedy} {advice}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
