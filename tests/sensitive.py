"""Prints how far every trained or optimised comparison stays from its bound: 5 seeds, 1 and 2 threads.

    python tests/sensitive.py [--seeds 5] [--threads 1 2] [NAME ...]

A line for each value and number of threads: its mean over the seeds, the bound, and the margin in units of
the seeds' spread (their standard deviation). Tests look at the mean of few seeds: a margin of 3 and more is
safe on any processor. The exit code is 1 where a mean is above its bound.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean, stdev

import torch

sys.path.insert(0, str(Path(__file__).parent))

from comparisons import COMPARISONS, load_all


def lines(name: str, seeds: int, threads: int) -> list[tuple[str, bool]]:
    """A line for each value of a comparison, and whether its mean is below the bound."""
    torch.set_num_threads(threads)
    found = []
    for values in zip(*(list(COMPARISONS[name](seed)) for seed in range(seeds)), strict=True):
        mean, bound = fmean(v.value for v in values), values[0].bound
        spread = stdev(v.value for v in values) if seeds > 1 else 0.0
        margin = f"{(bound - mean) / spread:8.1f} spreads" if spread else "   no spread"
        what = f"{name}: {values[0].name}"
        worst = max(v.value for v in values)
        text = (
            f"{what:58} {threads} thr. {mean:9.4g} (worst {worst:9.4g}) below {bound:6.4g}, margin {margin}"
        )
        found.append((text, mean < bound))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Prints the margins of trained and optimised comparisons.")
    parser.add_argument("names", nargs="*", help="comparisons to run; all of them by default")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds each comparison runs on")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads to run on")
    options = parser.parse_args()
    load_all()
    good = True
    for name in options.names or COMPARISONS:
        for threads in options.threads:
            for text, below in lines(name, options.seeds, threads):
                print(text if below else f"{text}  ABOVE", flush=True)
                good &= below
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
