"""What a lab has measured so far: OUT/results.json, row by row, and the states that later rows start from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pithnet.atomic import make_folder
from pithnet.errors import PithError
from pithnet.results import Store
from pithnet.run.progress import Lines, Quiet
from pithnet.run.states import load_tensors, save_tensors

Row = dict[str, Any]
RESULTS, STATES = "results.json", "state"

# Of what results.json says besides its rows.
_MAY_DIFFER = ("hardware", "command")


def flat(content: Any, name: str = "") -> dict[str, Any]:
    """Flattens nested mappings and lists of mappings under dotted names, and leaves out what is None."""
    if isinstance(content, list) and any(isinstance(v, dict) for v in content):
        content = {str(i): v for i, v in enumerate(content, 1)}
    if not isinstance(content, dict):
        shown = ", ".join(map(str, content)) if isinstance(content, list) else content
        return {} if content in (None, []) else {name: shown}
    merged: dict[str, Any] = {}
    for key, value in content.items():
        merged |= flat(value, f"{name}.{key}" if name else key)
    return merged


class Notebook(Store):
    """The store of a lab: rows by (item, what). A finished row is on disk at once, and not measured again.

    Args:
        out: The lab's folder.
        facts: What else results.json says (lab, settings, seeds, epochs, hardware, ...). A lab is resumed
            only with the same facts, hardware and command aside.
        resume: Whether a lab that is in `out` goes on.
        progress: What shows the work; a plain line per epoch and row on stderr where None.

    Raises:
        PithError: `out` cannot be written, another process is at it, it holds another lab, or this one and
            `resume` is not set.
    """

    def __init__(self, out: Path, facts: Row, *, resume: bool = False, progress: Quiet | None = None) -> None:
        super().__init__(Path(out))
        self.facts, self.progress = json.loads(json.dumps(facts)), progress or Lines()
        self.rows: list[Row] = []
        make_folder(self.path)
        make_folder(self.path / STATES)
        self.lock("or choose another --out")
        try:
            if self.results.exists():
                if not resume:
                    raise PithError(f"{self.path} holds a lab already; add --resume, or choose another --out")
                self.rows = self._read()
            self._write()
        except BaseException:
            self.close()
            raise

    @property
    def out(self) -> Path:
        """The lab's folder."""
        return self.path

    @property
    def results(self) -> Path:
        """The path of results.json."""
        return self.path / RESULTS

    def _read(self) -> list[Row]:
        file = self.path / RESULTS
        try:
            found = json.loads(file.read_text())
            rows: list[Row] = found["rows"]
            # It is a lab where it says which.
            theirs = {"lab": found["lab"], **{k: found.get(k) for k in self.facts if k not in _MAY_DIFFER}}
            mine = {k: v for k, v in self.facts.items() if k not in _MAY_DIFFER}
        except (OSError, ValueError, TypeError, KeyError):
            raise PithError(f"{file} is not a lab's result; choose another --out") from None
        before, now = flat(theirs), flat(mine)
        for name in [*now, *before]:
            if before.get(name) != now.get(name):
                raise PithError(
                    f"{file} was measured with {name} {before.get(name)}, not {now.get(name)}; resume with "
                    "the same arguments, or choose another --out"
                )
        return rows

    def _write(self) -> None:
        self.write_json(RESULTS, {**self.facts, "rows": self.rows})

    def find(self, item: str, what: str) -> Row | None:
        """Returns the row of that item and name, None where it is not measured yet."""
        return next((r for r in self.rows if r["item"] == item and r["what"] == what), None)

    def row(self, item: str, what: str, measure: Callable[[], Row]) -> Row:
        """Returns the row of that item and name: as it is on disk, else measured now and written."""
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
        """Returns the rows of one item, in the order in which they were measured."""
        return [r for r in self.rows if r["item"] == item]

    def state_file(self, key: str) -> str:
        """Returns the name, in the store, of the file that holds the state of that key."""
        plain = re.sub(r"[^\w.-]+", "-", key)
        return f"{STATES}/{plain}.pt"

    def load(self, key: str) -> Row | None:
        """Returns the state saved under that key, on the CPU; None where there is none."""
        return load_tensors(self, self.state_file(key))

    def save(self, key: str, state: Row) -> None:
        """Keeps a state under that key, whole or not at all."""
        save_tensors(self, self.state_file(key), state)
