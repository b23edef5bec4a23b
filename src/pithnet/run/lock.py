"""One process in a run folder at a time."""

from __future__ import annotations

import os
from pathlib import Path

from pithnet.atomic import not_written
from pithnet.errors import PithError

try:
    import fcntl
except ImportError:  # Windows has no flock: there, nobody is kept out
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


def lock(folder: Path, then: str) -> int:
    """The descriptor of a file in `folder`, locked until it is closed or this process dies, even by kill -9.

    The file stays: removing it would let two processes hold a lock of that name. Raises PithError where
    another process has the lock, or the file cannot be made (`then` ends that message).
    """
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as e:
        raise not_written(path, e, then) from None
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PithError(f"{folder} is in use by another process; wait for it, or stop it") from None
    except OSError:
        pass  # a file system without locks
    return descriptor
