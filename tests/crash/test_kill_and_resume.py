"""The script beside this file with few kills; by hand: `python tests/crash/kill_and_resume.py --kills 20`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("kill_and_resume.py")


def test_killed_at_random_moments_a_run_ends_in_the_same_bytes() -> None:
    command = [sys.executable, str(SCRIPT), "--fork", "--kills", "2", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for job in ("train", "compress"):
        assert found[job]["runs"] == 2
        assert found[job]["kills"]["before"] + found[job]["kills"]["during"] >= 2
    assert found["compress"]["files"] > found["train"]["files"]
