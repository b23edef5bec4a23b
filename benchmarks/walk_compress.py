"""How often a walk of `pithnet compress` changes modules: its calls in the order in which they happen.

    python benchmarks/walk_compress.py [SOURCE ...] [--rooms ROOM,...] [--json]

Each SOURCE is the `src` folder of a checkout, that of this file where none is given; of two, the second is
divided by the first. Every walk runs in a process of its own: the command line's `main` carries out a recipe
of two steps (prune, share; an epoch each) on a digits-cnn that one epoch has trained on the bundled digits.

Counted are the calls of Python functions written in a module of the rooms cli, commands, run, recipe, results
and report, from the moment `main` is called until it returns, callbacks of progress and of batches included.
Calls in other rooms are passed over, and so is what runs while a module is imported, and functions that a
library generates (the methods of dataclasses, the templates of pages). A **stay** is a maximal run of such
calls inside one module. A **return** is a stay in a module that has been left before.

Three counts are given of each. `whole` is of all the calls. `once` is of the path without its repetitions:
of every pair of a function and the function of these rooms that called it, the first call alone, so that
neither the number of epochs nor that of batches or layers matters. `read` is of the first call of each
function alone, as the files are read by who has never seen them. `--rooms` leaves rooms out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOMS = ("cli", "commands", "run", "recipe", "results", "report")
KINDS = ("whole", "once", "read")
RECIPE = """
name: walk
batch_size: 512
distill: {weight: 0}
steps:
  - prune: {sparsity: 0.5, ramp: 0.5}
    train: {epochs: 1}
  - share: {levels: 8}
    train: {epochs: 1}
"""
Call = tuple[str, CodeType, CodeType | None]


class Walk:
    """The calls inside the rooms while it is entered, as (module, function, function that called it)."""

    def __init__(self, package: Path, rooms: Sequence[str]) -> None:
        self.calls: list[Call] = []
        self._prefixes = tuple(f"{package / room}{end}" for room in rooms for end in (os.sep, ".py"))
        self._importing = 0

    def __enter__(self) -> Walk:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if code.co_name == "<module>":
            self._importing += (event == "call") - (event == "return")
        elif event == "call" and not self._importing and self._counts(code):
            self.calls.append((frame.f_globals["__name__"], code, self._caller(frame)))

    def _counts(self, code: CodeType) -> bool:
        return code.co_filename.startswith(self._prefixes) and code.co_filename.endswith(".py")

    def _caller(self, frame: FrameType) -> CodeType | None:
        outer = frame.f_back
        while outer is not None and not self._counts(outer.f_code):
            outer = outer.f_back
        return outer.f_code if outer else None


def counted(modules: Sequence[str]) -> dict[str, Any]:
    """Returns stays, returns, and how many stays each module has, in the order of the first of them."""
    stays = [module for module, _ in groupby(modules)]
    entered = Counter(stays)
    return {
        "stays": len(stays),
        "returns": len(stays) - len(entered),
        "modules": dict(entered),
        "path": stays,
    }


def walk(rooms: Sequence[str]) -> dict[str, Any]:
    """Returns the counts of one `compress` of the pithnet that is on the path."""
    import pithnet
    from pithnet.cli import main

    with tempfile.TemporaryDirectory() as folder:
        trained, recipe = Path(folder) / "float", Path(folder) / "walk.yaml"
        recipe.write_text(RECIPE)
        data = ["--model", "digits-cnn", "--data", "digits"]
        _run(main, ["train", *data, "--epochs", "1", "--out", str(trained)])
        command = ["compress", *data, "--weights", str(trained / "model.pt"), "--recipe", str(recipe)]
        with Walk(Path(pithnet.__file__).parent, rooms) as seen:
            _run(main, [*command, "--out", str(Path(folder) / "run")])
    once = dict.fromkeys(seen.calls)
    home = {code: module for module, code, _ in seen.calls}
    modules = ([m for m, _, _ in seen.calls], [m for m, _, _ in once], list(home.values()))
    return {kind: counted(path) for kind, path in zip(KINDS, modules, strict=True)}


def _run(main: Any, tokens: list[str]) -> None:
    if main(tokens) != 0:
        raise SystemExit(f"pithnet {' '.join(tokens)} failed")


def walk_of(source: Path, rooms: Sequence[str]) -> dict[str, Any]:
    """Returns the counts of a checkout, in a process of its own."""
    if not (source / "pithnet").is_dir():
        raise SystemExit(f"{source} holds no pithnet; give the src folder of a checkout")
    environment = {**os.environ, "PYTHONPATH": str(source.absolute()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--walk", "--rooms", ",".join(rooms)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{source}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratios(walks: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns the counts of the second walk over those of the first."""
    old, new = walks
    return {kind: {n: new[kind][n] / old[kind][n] for n in ("stays", "returns")} for kind in KINDS}


def _print(source: Path, found: dict[str, Any]) -> None:
    print(source)
    for kind, counts in found.items():
        print(f"  {kind}: {counts['stays']} stays, {counts['returns']} returns")
    for module, entered in found["whole"]["modules"].items():
        print(f"    {module}: entered {entered} times")


def main() -> None:
    """Walks the given checkouts and prints their counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, nargs="*", help="The src folder of a checkout; at most two.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object with the whole path.")
    parser.add_argument("--rooms", default=",".join(ROOMS), help="The rooms to count, such as cli,run.")
    parser.add_argument("--walk", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    rooms = given.rooms.split(",")
    if unknown := set(rooms) - set(ROOMS):
        parser.error(f"no such rooms: {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    if given.walk:
        print(json.dumps(walk(rooms)))
        return
    if len(given.source) > 2:
        parser.error("give at most two checkouts: an older one and a newer one")
    sources = given.source or [Path(__file__).parents[1] / "src"]
    walks = [walk_of(source, rooms) for source in sources]
    compared = ratios(walks) if len(walks) == 2 else {}
    if given.json:
        print(json.dumps({"walks": dict(zip(map(str, sources), walks, strict=True)), "ratios": compared}))
        return
    for source, found in zip(sources, walks, strict=True):
        _print(source, found)
    for kind, shares in compared.items():
        print(f"{kind}: {shares['stays']:.2f} of the stays, {shares['returns']:.2f} of the returns")


if __name__ == "__main__":
    main()
