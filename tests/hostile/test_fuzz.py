"""The fuzzer with few mutants; records/hostile-files holds a run with 100,000."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("fuzz.py")
LOG = SCRIPT.parents[2] / "records" / "hostile-files" / "log.json"


def test_a_few_hundred_mutants_are_refused_or_read(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--mutants", "500", "--seed", "1", "--log", str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = json.loads((tmp_path / "log").read_text())
    assert log["wrong"] == []
    counts = log["outcomes"]
    assert sum(counts["sealed"].values()) == sum(counts["unsealed"].values()) == 250
    assert counts["sealed"]["read"] > 10
    assert counts["sealed"]["refused: record"] > 50
    assert log["slowest"][0]["seconds"] > 0


def test_the_record_is_of_a_full_run() -> None:
    log = json.loads(LOG.read_text())
    assert log["mutants"] == 100_000
    assert sum(sum(counts.values()) for counts in log["outcomes"].values()) == 100_000
    assert log["wrong"] == []
    assert log["slowest"][0]["seconds"] <= 1
    assert log["largest"][0]["bytes"] <= 200 * 10**6
