"""A run folder: recipe.yaml, events.jsonl, state.pt, model.pith, results.json. Every write is atomic or appends a line."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import torch

from pithnet.errors import PithError


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a temporary file beside `path`, syncs it and renames it. Raises PithError where that is impossible."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, path)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise PithError(
            f"{path} cannot be written: {e.strerror}; free some space or choose another folder"
        ) from None


class RunFolder:
    """Where a run keeps what it did, so that it can be stopped at any moment and continued."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, settings: dict[str, Any]) -> RunFolder:
        """A new run. Raises PithError where the folder holds a run already, or cannot be written."""
        if (path / "settings.json").exists():
            raise PithError(
                f"{path} holds a run already; continue it with --resume {path}, or choose another --out"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise PithError(f"{path} cannot be created: {e.strerror}; choose another --out") from None
        folder = cls(path)
        folder.write_json("settings.json", settings)
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises PithError where there is none."""
        if not (path / "settings.json").exists():
            raise PithError(f"{path} holds no run to continue: there is no settings.json in it")
        return cls(path)

    def write_json(self, name: str, content: Any) -> None:
        write_atomic(self.path / name, (json.dumps(content, indent=1) + "\n").encode())

    def read_json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as e:
            raise PithError(f"{self.path / name} cannot be read: {e}") from None

    def event(self, kind: str, **content: Any) -> None:
        """Appends a line to events.jsonl."""
        line = json.dumps({"event": kind, **content}) + "\n"
        try:
            with open(self.path / "events.jsonl", "a") as f:
                f.write(line)
        except OSError as e:
            raise PithError(f"{self.path / 'events.jsonl'} cannot be written: {e.strerror}") from None

    def save_tensors(self, name: str, content: dict[str, Any]) -> None:
        """torch.save, atomically."""
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomic(self.path / name, buffer.getvalue())

    def save_state(self, state: dict[str, Any]) -> None:
        """What `load_state` gives back after a crash."""
        self.save_tensors("state.pt", state)

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state, None where the run had not come to one."""
        path = self.path / "state.pt"
        return torch.load(path, weights_only=True) if path.exists() else None
