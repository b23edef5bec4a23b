"""What a lab has measured so far: OUT/results.json, row by row, and the states that later rows start from."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pithnet.atomic import make_folder, write_atomic
from pithnet.errors import PithError
from pithnet.run.progress import Lines, Quiet

Row = dict[str, Any]

# Of what results.json says besides its rows.
_MAY_DIFFER = ("hardware", "command")
# What was so before there was a choice, and is not in older files.
_BEFORE = {"device": "cpu"}


def flat(content: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists of mappings as one, under dotted names; what is None is left out."""
    if isinstance(content, list) and any(isinstance(v, dict) for v in content):
        content = {str(i): v for i, v in enumerate(content, 1)}
    if not isinstance(content, dict):
        shown = ", ".join(map(str, content)) if isinstance(content, list) else content
        return {} if content in (None, []) else {name: shown}
    merged: dict[str, Any] = {}
    for key, value in content.items():
        merged |= flat(value, f"{name}.{key}" if name else key)
    return merged


class Notebook:
    """Rows by (item, what). A finished row is on disk at once, and is not measured again after `resume`.

    Args:
        facts: what else results.json says (lab, settings, seeds, epochs, hardware, ...). A lab is resumed
            only with the same facts, hardware and command aside.
        progress: what shows the work; a plain line per epoch and row on stderr where None.

    Raises PithError where `out` cannot be written, holds another lab, or this one and `resume` is not set.
    """

    def __init__(self, out: Path, facts: Row, *, resume: bool = False, progress: Quiet | None = None) -> None:
        self.out, self.facts, self.progress = Path(out), json.loads(json.dumps(facts)), progress or Lines()
        self.rows: list[Row] = []
        make_folder(self.out)
        make_folder(self.out / "state")
        if self.path.exists():
            if not resume:
                raise PithError(f"{self.out} holds a lab already; add --resume, or choose another --out")
            self.rows = self._read()
        self._write()

    @property
    def path(self) -> Path:
        return self.out / "results.json"

    def _read(self) -> list[Row]:
        try:
            found = _BEFORE | json.loads(self.path.read_text())
            rows: list[Row] = found["rows"]
            # A lab of an earlier version may say less; it is a lab where it says which.
            theirs = {"lab": found["lab"], **{k: found.get(k) for k in self.facts if k not in _MAY_DIFFER}}
            mine = {k: v for k, v in self.facts.items() if k not in _MAY_DIFFER}
        except (OSError, ValueError, TypeError, KeyError):
            raise PithError(f"{self.path} is not a lab's result; choose another --out") from None
        before, now = flat(theirs), flat(mine)
        for name in [*now, *before]:
            # A training's precision is the lab's, which is a fact of its own.
            if before.get(name) != now.get(name) and not name.endswith(".precision"):
                raise PithError(
                    f"{self.path} was measured with {name} {before.get(name)}, not {now.get(name)}; resume "
                    "with the same arguments, or choose another --out"
                )
        return rows

    def _write(self) -> None:
        write_atomic(self.path, (json.dumps({**self.facts, "rows": self.rows}, indent=1) + "\n").encode())

    def find(self, item: str, what: str) -> Row | None:
        return next((r for r in self.rows if r["item"] == item and r["what"] == what), None)

    def row(self, item: str, what: str, measure: Callable[[], Row]) -> Row:
        """The row of that item and name: as it is on disk, else measured now and written."""
        found = self.find(item, what)
        if found is not None:
            return found
        row = {"item": item, "what": what, **measure()}
        self.rows.append(json.loads(json.dumps(row)))
        self._write()
        accuracy = f": {100 * row['accuracy']:.2f} %" if "accuracy" in row else ""
        self.progress.note(f"item {item}, {what}{accuracy}")
        return self.rows[-1]

    def of(self, item: str) -> list[Row]:
        """The rows of one item, in the order they were measured."""
        return [r for r in self.rows if r["item"] == item]

    def _state(self, key: str) -> Path:
        return self.out / "state" / (re.sub(r"[^\w.-]+", "-", key) + ".pt")

    def load(self, key: str) -> Row | None:
        """The state saved under that key, on the CPU; None where there is none."""
        path = self._state(key)
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None

    def save(self, key: str, state: Row) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(self._state(key), buffer.getvalue())
