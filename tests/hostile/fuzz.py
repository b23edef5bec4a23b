"""Damages files and reads them: ArtifactError or numbers of the declared shapes, in little time and memory.

    python tests/hostile/fuzz.py --mutants 100000 --seed 0 --log records/hostile-files/log.json

Half of the mutants have all their checksums recomputed. Mutant i of a seed is the same on every machine.
They are read in child processes, so that a crash or a hang is counted and not suffered. `--limit` is the
reader's `max_elements`: a file of a hundred bytes may declare, and get, as many numbers as that allows.
Exits with 1 where a file was read wrong, or took more than a second of the processor or 200 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from hostile.bases import real_files, small_files
from hostile.mutations import KINDS, mutant
from hostile.outcome import measured_outcome
from pithnet.run.hardware import hardware

SECONDS, BYTES = 1.0, 200 * 10**6
LIMIT = 1_000_000
REAL_SHARE = 0.06
_CHUNK, _HANG = 2000, 20.0  # mutants for a child; seconds of the processor after which it is killed


class Files:
    """What mutants are made of."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.small, self.real = small_files(), real_files()
        self.bases = self.small | self.real

    def mutant(self, number: int) -> tuple[str, str, bool, bytes]:
        """(base, kind, sealed, bytes) of a mutant; every other one is sealed."""
        rng, sealed = random.Random(f"{self.seed}:{number}"), number % 2 == 1
        group = self.real if self.real and rng.random() < REAL_SHARE else self.small
        name, kind = rng.choice(sorted(group)), rng.choice(sorted(KINDS))
        return name, kind, sealed, mutant(group[name], kind, sealed, rng)


def child(files: Files, numbers: range, limit: int, pipe: int) -> None:
    """Reads the mutants and writes a line for each."""
    for number in numbers:
        name, kind, sealed, data = files.mutant(number)
        signal.setitimer(signal.ITIMER_PROF, _HANG)  # nobody handles SIGPROF: it ends the process
        what, seconds, peak = measured_outcome(data, limit)
        row = {"number": number, "base": name, "kind": kind, "sealed": sealed, "outcome": what}
        line = json.dumps({**row, "seconds": round(seconds, 4), "bytes": peak}) + "\n"
        os.write(pipe, line.encode())


def results(files: Files, mutants: int, limit: int) -> Iterator[dict[str, Any]]:
    """A row for each mutant, in order; crashes and hangs have one too."""
    number = 0
    while number < mutants:
        end = min(number + _CHUNK, mutants)
        out, pipe = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                child(files, range(number, end), limit, pipe)
                code = 0
            finally:
                os._exit(code)
        os.close(pipe)
        with open(out) as lines:
            for line in lines:
                yield json.loads(line)
                number += 1
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if number < end:
            name, kind, sealed, _ = files.mutant(number)
            what = "WRONG hang" if status == -signal.SIGPROF else f"WRONG crash, exit code {status}"
            row = {"number": number, "base": name, "kind": kind, "sealed": sealed, "outcome": what}
            yield {**row, "seconds": 0.0, "bytes": 0}
            number += 1


def summary(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Counts, the slowest, the largest, and all that was wrong."""
    outcomes: dict[str, Counter[str]] = {"sealed": Counter(), "unsealed": Counter()}
    kinds: dict[str, Counter[str]] = {}
    slowest, largest, wrong = [], [], []
    for row in rows:
        what = str(row["outcome"])
        outcomes["sealed" if row["sealed"] else "unsealed"][_group(what)] += 1
        kinds.setdefault(row["kind"], Counter())["read" if what == "read" else "refused"] += 1
        slowest = sorted([*slowest, row], key=lambda r: -r["seconds"])[:5]
        largest = sorted([*largest, row], key=lambda r: -r["bytes"])[:5]
        if what.startswith("WRONG") or row["seconds"] > SECONDS or row["bytes"] > BYTES:
            wrong.append(row)
            print(row, file=sys.stderr, flush=True)
    return {"outcomes": outcomes, "kinds": kinds, "slowest": slowest, "largest": largest, "wrong": wrong}


def _group(what: str) -> str:
    first = what.split(maxsplit=1)[0].rstrip(":")
    named = {"read": "read", "WRONG": "wrong", "header": "refused: header", "record": "refused: record"}
    return named.get(first, "refused: frame")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=LIMIT)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files, start = Files(options.seed), time.monotonic()
    found = summary(results(files, options.mutants, options.limit))
    log = {
        "command": "python tests/hostile/fuzz.py " + " ".join(sys.argv[1:]),
        "mutants": options.mutants,
        "seed": options.seed,
        "max_elements": options.limit,
        "bases": {name: len(data) for name, data in files.bases.items()},
        **found,
        "seconds": round(time.monotonic() - start, 1),
        "hardware": hardware(),
    }
    text = json.dumps(log, indent=1) + "\n"
    if options.log:
        options.log.parent.mkdir(parents=True, exist_ok=True)
        options.log.write_text(text)
    else:
        print(text)
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
