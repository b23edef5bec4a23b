"""The one store: a folder that keeps what a run or a lab did. Every write is atomic."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel

from pithnet.atomic import make_folder, not_written, sweep, sweep_file, write_atomic
from pithnet.errors import PithError
from pithnet.results.event_log import Epoch, Pass
from pithnet.results.measured import Measurements, Plan
from pithnet.results.run_record import Results

SETTINGS, EVENTS, LOCK = "settings.json", "events.jsonl", ".lock"
RECORDS: dict[str, type[BaseModel]] = {
    "results.json": Results,
    "plan.json": Plan,
    "measurements.json": Measurements,
}
EVENT_KINDS: dict[str, type[BaseModel]] = {"epoch": Epoch, "pass": Pass}


class Store:
    """A folder in which work can be stopped at any moment and continued.

    `create` and `open` keep other processes out until `close`, or the end of a `with` block. A process that
    dies, even by kill -9, lets others in.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._release: weakref.finalize[..., Store] | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        settings: dict[str, Any],
        files: Mapping[str, bytes] | None = None,
        advice: str = "continue it with --resume, or choose another --out",
    ) -> Self:
        """Makes a new store, with what its work cannot be continued without: `files`, and then settings.json.

        Args:
            path: The folder, which may exist and hold no run.
            settings: The content of settings.json.
            files: Other files, by name.
            advice: The advice that ends the message where the folder holds a run.

        Raises:
            PithError: The folder holds a run already, another process is making one there, or the folder
                cannot be written.
        """
        store = cls(path)
        store._refuse_run(advice)
        make_folder(store.path)
        store.lock("or choose another folder")
        try:
            store._refuse_run(advice)  # one may have been made and ended since
            # settings.json comes last: the folder holds a run from then on, and whatever a killed process
            # left before is no more than rubbish, removed here of these files only: other runs may lie below
            # `path`.
            for name, data in {**(files or {}), SETTINGS: as_json(settings)}.items():
                sweep_file(store.path / name)
                write_atomic(store.path / name, data)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens an existing store, and removes what a killed process was writing.

        Raises:
            PithError: There is none, or another process is at it.
        """
        if not (Path(path) / SETTINGS).exists():
            raise PithError(
                f"{path} holds no run to continue: there is no settings.json in it; start one with --out"
            )
        store = cls(path)
        store.lock(store.advice)
        sweep(store.path)
        return store

    def close(self) -> None:
        """Lets other processes in."""
        if self._release is not None:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lock(self, advice: str) -> None:
        """Keeps other processes out.

        The file of the lock stays: without it two processes could each hold a lock of that name.

        Args:
            advice: The end of the message where the lock cannot be made.

        Raises:
            PithError: Another process is at it, or the lock cannot be made.
        """
        lock = FileLock(self.path / LOCK, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise PithError(f"{self.path} is in use by another process; wait for it, or stop it") from None
        except NotImplementedError:
            return  # a file system without locks: nobody is kept out
        except OSError as e:
            raise not_written(self.path / LOCK, e, advice) from None
        # Released with the object too, for who calls neither `close` nor `with`.
        self._release = weakref.finalize(self, lock.release)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Writes a file, whole or not at all.

        Raises:
            PithError: The file cannot be written.
        """
        write_atomic(self.path / name, data, self.advice)

    def write_json(self, name: str, content: Any) -> None:
        """Writes `content` as JSON, as `write` does.

        Raises:
            PithError: The file cannot be written.
        """
        self.write(name, as_json(content))

    def write_record(self, name: str, content: dict[str, Any]) -> None:
        """Writes one of `RECORDS`, in the form in which it is read again.

        Raises:
            PithError: It cannot be written.
            ValidationError: The content is not of that form, which is a mistake of the caller's.
        """
        RECORDS[name].model_validate(content)
        self.write_json(name, content)

    def read_json(self, name: str) -> Any:
        """Returns what a JSON file holds.

        Raises:
            PithError: The file is missing or damaged.
        """
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as e:
            raise PithError(f"{self.path / name} cannot be read: {e}") from None

    def event(self, kind: str, **content: Any) -> None:
        """Appends a line to events.jsonl; what an epoch and a pass say has the form of `EVENT_KINDS`.

        Args:
            kind: The name under which `events` finds it.
            **content: What else the line holds; values that JSON knows.

        Raises:
            PithError: The log cannot be written.
            ValidationError: The content is not of that form, which is a mistake of the caller's.
        """
        if kind in EVENT_KINDS:
            EVENT_KINDS[kind].model_validate(content)
        line = json.dumps({"event": kind, **content}) + "\n"
        try:
            with open(self._log, "a") as f:
                f.write(line)
                f.flush()
                # A state that counts on this line must not outlive it in a power cut.
                os.fsync(f.fileno())
        except OSError as e:
            raise not_written(self._log, e, self.advice) from None

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Returns what `event` wrote under that name, in order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [e for e in map(json.loads, lines) if e["event"] == kind]

    @property
    def log_bytes(self) -> int:
        """The length of events.jsonl."""
        return self._log.stat().st_size if self._log.exists() else 0

    def cut_log(self, size: int) -> None:
        """Cuts events.jsonl back to `size` bytes, where it is longer: what came later happens again.

        Raises:
            PithError: The log cannot be written.
        """
        if self._log.exists():
            try:
                os.truncate(self._log, min(size, self.log_bytes))
            except OSError as e:
                raise not_written(self._log, e, self.advice) from None

    @property
    def _log(self) -> Path:
        return self.path / EVENTS

    def _refuse_run(self, advice: str) -> None:
        if (self.path / SETTINGS).exists():
            raise PithError(f"{self.path} holds a run already; {advice}")

    @property
    def advice(self) -> str:
        """The end of a message that says what keeps the run from being written."""
        return f"and continue with --resume {self.path}"


def as_json(content: Any) -> bytes:
    """Returns `content` as the JSON text of a file."""
    return (json.dumps(content, indent=1) + "\n").encode()
