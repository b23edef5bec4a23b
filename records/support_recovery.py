"""Who finds 10 of 400 weights from 100 noisy points, over 20 designs: as in `pithnet lab linear`.

    python records/support_recovery.py --out records/support-recovery

Writes DIR/results.json (a row a method: true and false positives, l2 error of every design, processor
time) and recovery.csv. No strength is tuned: lambda follows from the noise (labs/linear/design.py says
how), and the rows with knows_truth are references.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

import torch

from pithnet.atomic import write_atomic
from pithnet.labs.linear import design
from pithnet.labs.linear.design import Design
from pithnet.labs.linear.experiment import DESIGNS
from pithnet.labs.linear.recovery import entrants, recovery
from pithnet.report import write_csv
from pithnet.run.hardware import hardware


def main() -> int:
    """Writes the table, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for data, grouped in (("random", False), ("random-grouped", True)):
        designs = [Design.draw(seed, grouped) for seed in range(DESIGNS)]
        rows += [{"what": e.what, **recovery(e, designs, data)} for e in entrants(grouped)]
    content = {
        "rows": rows,
        "points": design.POINTS,
        "weights": design.WEIGHTS,
        "nonzeros": design.NONZEROS,
        "noise": design.NOISE,
        "lambda": design.universal_strength(),
        "lambda_of_groups": design.group_strength(),
        "seeds": list(range(DESIGNS)),
        "hardware": hardware(),
        "command": shlex.join(["python", "records/support_recovery.py", "--out", "records/support-recovery"]),
    }
    write_atomic(options.out / "results.json", (json.dumps(content, indent=1) + "\n").encode())
    kept = [{k: v for k, v in r.items() if k not in ("l2_errors", "weights", "loss")} for r in rows]
    write_csv(options.out / "recovery.csv", kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
