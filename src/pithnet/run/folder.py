"""A run folder: recipe.yaml, events.jsonl, state.pt, model.pith, results.json. Writes are atomic."""

from __future__ import annotations

import io
import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

from pithnet.atomic import make_folder, not_written, sweep, sweep_file, write_atomic
from pithnet.errors import PithError
from pithnet.run.lock import lock

__all__ = ["RunFolder", "write_atomic"]


class RunFolder:
    """Where a run keeps what it did, so that it can be stopped at any moment and continued.

    `create` and `open` keep other processes out until `close`, or the end of a `with` block.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unlock: weakref.finalize[[int], RunFolder] | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        settings: dict[str, Any],
        files: Mapping[str, bytes] | None = None,
        then: str = "continue it with --resume, or choose another --out",
    ) -> RunFolder:
        """A new run, with what it cannot be continued without: `files`, and then settings.json.

        Raises PithError where the folder holds a run already, its message ending with `then`, where another
        process is making one there, or where it cannot be written.
        """
        folder = cls(path)
        folder._refuse_run(then)
        make_folder(path)
        folder._lock("or choose another folder")
        try:
            folder._refuse_run(then)  # one may have been made and ended since
            # settings.json comes last: the folder holds a run from then on, and whatever a killed process
            # left before is no more than rubbish, removed here of these files only: other runs may lie below
            # `path`.
            for name, data in {**(files or {}), "settings.json": _json(settings)}.items():
                sweep_file(path / name)
                write_atomic(path / name, data)
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run, less what a killed process was writing.

        Raises PithError where there is none, or where another process is at it.
        """
        if not (path / "settings.json").exists():
            raise PithError(
                f"{path} holds no run to continue: there is no settings.json in it; start one with --out"
            )
        folder = cls(path)
        folder._lock(folder.then)
        sweep(path)
        return folder

    def close(self) -> None:
        """Lets other processes in."""
        if self._unlock is not None:
            self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, name: str, data: bytes | memoryview) -> None:
        """A file of the run, whole or not at all. Raises PithError where it cannot be written."""
        write_atomic(self.path / name, data, self.then)

    def write_json(self, name: str, content: Any) -> None:
        """`content` as JSON, as `write`."""
        self.write(name, _json(content))

    def read_json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as e:
            raise PithError(f"{self.path / name} cannot be read: {e}") from None

    def event(self, kind: str, **content: Any) -> None:
        """Appends a line to events.jsonl. Raises PithError where it cannot."""
        line = json.dumps({"event": kind, **content}) + "\n"
        log = self.path / "events.jsonl"
        try:
            with open(log, "a") as f:
                f.write(line)
                f.flush()
                # A state that counts on this line must not outlive it in a power cut.
                os.fsync(f.fileno())
        except OSError as e:
            raise not_written(log, e, self.then) from None

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What `event` wrote under that name, in order."""
        path = self.path / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [e for e in map(json.loads, lines) if e["event"] == kind]

    def save_tensors(self, name: str, content: dict[str, Any]) -> None:
        """torch.save, as `write`."""
        buffer = io.BytesIO()
        torch.save(content, buffer)
        self.write(name, buffer.getbuffer())

    def save_state(self, state: dict[str, Any]) -> None:
        """What `load_state` gives back after a crash."""
        log = self.path / "events.jsonl"
        self.save_tensors("state.pt", {**state, "log_bytes": log.stat().st_size if log.exists() else 0})

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state, on the CPU; None where the run had not come to one.

        Cuts events.jsonl back to that moment: what came later happens again. Raises PithError where the state
        is damaged, or the folder cannot be written.
        """
        path = self.path / "state.pt"
        try:
            state: dict[str, Any] | None = None
            if path.exists():
                state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as e:  # torch raises many kinds on a damaged file
            raise PithError(
                f"{path} cannot be read ({type(e).__name__}); start the run again in another folder"
            ) from None
        log = self.path / "events.jsonl"
        if log.exists():
            size = log.stat().st_size
            try:
                os.truncate(log, 0 if state is None else min(size, state.get("log_bytes", size)))
            except OSError as e:
                raise not_written(log, e, self.then) from None
        return state

    def _lock(self, then: str) -> None:
        # Closed with the object too, for who calls neither `close` nor `with`.
        self._unlock = weakref.finalize(self, os.close, lock(self.path, then))

    def _refuse_run(self, then: str) -> None:
        if (self.path / "settings.json").exists():
            raise PithError(f"{self.path} holds a run already; {then}")

    @property
    def then(self) -> str:
        """How a message goes on that says what keeps the run from being written."""
        return f"and continue with --resume {self.path}"


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
