"""Memory that was freed, given back to the system before more is asked for."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back_freed() -> None:
    """Gives freed memory back to the system where the allocator keeps it, as glibc does for every thread.

    Threads do not use what others have freed, so work that goes through many threads would hold several times
    what it needs. Where there is no such call, nothing happens.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
