"""What becomes of a file: ArtifactError, or numbers of the declared shapes; with time and memory."""

from __future__ import annotations

import time
from pathlib import Path

from pithnet.artifact import decode, inspect
from pithnet.artifact.container import unpack
from pithnet.errors import ArtifactError


def outcome(data: bytes, limit: int) -> str:
    """'read' where decode gives what the file declares, or else the message of its ArtifactError."""
    try:
        state, _ = decode(data, limit)
    except ArtifactError as e:
        return str(e)
    declared = {e.name: (e.shape, e.dtype) for e in unpack(data).layout}
    assert declared == {n: (tuple(v.shape), v.dtype) for n, v in state.items()}
    assert sum(inspect(data, limit).parts.values()) == len(data)
    return "read"


def measured_outcome(data: bytes, limit: int) -> tuple[str, float, int]:
    """The outcome or, after "WRONG ", what else happened; seconds of the processor; peak of extra bytes."""
    reset_peak()
    before, start = memory("VmRSS"), time.process_time()
    try:
        what = outcome(data, limit)
    except BaseException as e:
        what = f"WRONG {type(e).__name__}: {str(e)[:200]}"
    return what, time.process_time() - start, memory("VmHWM") - before


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory(key: str) -> int:
    """Bytes of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * int(line.split()[1])
    raise ValueError(key)
