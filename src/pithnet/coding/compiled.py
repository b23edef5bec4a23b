"""Whether loops that numba compiles are to be used; they give the same bytes and the same numbers.

Importing numba and its compiled code takes 0.4 s of the processor, and 1.1 s where it has to compile: what it
saves in 2**24 to 2**26 symbols (benchmarks/bench_lanes.py). So it is imported where a process has coded as
many, or has imported it for its own ends.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from types import ModuleType

VARIABLE = "PITHNET_NUMBA"  # 0: never; 1: always where it is installed
WORTH = 1 << 25  # symbols


class _Coded:
    """How many symbols this process has coded and decoded, and whether numba failed."""

    symbols = 0
    failed = False


def loops(symbols: int) -> ModuleType | None:
    """Returns `lanes_compiled`, or None where numpy alone is to do the work.

    Args:
        symbols: How many are about to be coded or decoded.
    """
    _Coded.symbols += symbols
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "0" or _Coded.failed:
        return None
    if chosen != "1" and "numba" not in sys.modules and _Coded.symbols < WORTH:
        return None
    if "numba" not in sys.modules and find_spec("numba") is None:
        return None
    try:
        from pithnet.coding import lanes_compiled
    except Exception:  # a numba that is broken, or not for this numpy, must not keep a file from being read
        _Coded.failed = True
        return None
    return lanes_compiled
