"""The most CPU that a file below 1 MB can cost its reader, by coder: seconds, memory, and what becomes of it.

    python benchmarks/bench_hostile.py [NAME ...] [--repeats 1]

Each file repeats the costliest records of one kind, one more than its budget of work allows, or as many as
fit into 1 MB; so nearly all of the budget is spent before it is refused. Seconds are those of one thread of
the processor, the fewest of the repeats. Every file should stay below 1 s and 300 MB beyond its tensors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from hostile import worst

SECONDS, BYTES = 1.0, 300 * 10**6


def files() -> Iterator[tuple[str, bytes]]:
    for kind in worst.kinds():
        yield kind.name, worst.filled(kind)[0]
    yield from worst.headers()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of the names of kinds; all where none is given")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    slowest = (0.0, "")
    beyond = 0
    for name, data in files():
        if options.names and not any(part in name for part in options.names):
            continue
        runs = [worst.tried(data) for _ in range(options.repeats)]
        seconds, peak = min(run[1] for run in runs), min(run[2] for run in runs)
        slowest, beyond = max(slowest, (seconds, name)), beyond + (seconds > SECONDS or peak > BYTES)
        said = runs[0][0][:70]
        print(f"{name:42} {len(data):9,} bytes {seconds:6.2f} s {peak / 1e6:6.0f} MB  {said}", flush=True)
    print(f"slowest: {slowest[1]}, {slowest[0]:.2f} s; {beyond} beyond {SECONDS:g} s or {BYTES // 10**6} MB")


if __name__ == "__main__":
    main()
