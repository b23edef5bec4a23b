"""Writes the digests of today's code: one_shot.json, and this machine's part of trained.json.

    PYTHONPATH=tests python -m golden.record

Run it only where bytes change on purpose, and say so in the CHANGELOG.
"""

from __future__ import annotations

import json

import torch

from golden.cases import HERE, ONE_SHOT, TRAINED, digest, machine


def main() -> None:
    torch.set_num_threads(1)
    one_shot = {name: digest(case()) for name, case in ONE_SHOT.items()}
    (HERE / "one_shot.json").write_text(json.dumps(one_shot, indent=1) + "\n")
    path = HERE / "trained.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[machine()] = {name: digest(case()) for name, case in TRAINED.items()}
    path.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
