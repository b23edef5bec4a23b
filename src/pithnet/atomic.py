"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pithnet.errors import PithError


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a temporary file beside `path`, syncs it and renames it. Raises PithError where it cannot."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, path)
    except OSError as e:
        part.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise PithError(
            f"{path} cannot be written: {e.strerror}; free some space or choose another folder"
        ) from None
