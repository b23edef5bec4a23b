"""SIGKILL at random moments of `pithnet train` and `pithnet compress`, then --resume, then the same bytes.

    python tests/crash/kill_and_resume.py --kills 20 --seed 0

Two kills of three come at a random time of the process's life, start-up included; the third while a random
one of its files is being written. Half of the resumed processes are killed too. --fork starts them as forks
of this process, which has imported everything: quicker, and no kills fall into the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECIPE = """\
name: crash
steps:
  - prune: {sparsity: 0.6, ramp: 0.5, updates: 4}
    train: {epochs: 2, lr: 0.02}
  - share: {levels: 6, trained: true, rate_weight: 0.001, skip: [linear]}
    train: {epochs: 2, lr: 0.02}
  - share: {bits: 3, init: kmeans++, skip: ["conv*"]}
    train: {epochs: 1, lr: 0.005}
batch_size: 256
distill: {weight: 0.5, views: 1}
"""
# Most images are held out: what is tested is when a process dies, not what it learns.
DIGITS = ("--model", "digits-cnn", "--data", "digits", "--val", "1000")
TRAIN = ("train", *DIGITS, "--epochs", "3", "--batch-size", "256")
COMPRESS = ("compress", *DIGITS)
TIMES = {"seconds", "train_seconds"}  # all that may differ between two runs
POLL = 0.001
NO_RUN = "holds no run to continue"


@dataclass
class Process:
    """A pithnet process that runs in `folder`, its stderr in stderr.txt there."""

    pid: int
    folder: Path
    code: int | None = None

    def poll(self) -> int | None:
        """The exit code, minus the signal where it was killed; None while it runs."""
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(POLL)
        assert self.code is not None
        return self.code

    def errors(self) -> str:
        return (self.folder / "stderr.txt").read_text()


Start = Callable[[Sequence[str], Path], Process]


def start_anew(arguments: Sequence[str], folder: Path) -> Process:
    """A new interpreter."""
    command = [sys.executable, "-c", "import sys; from pithnet.cli import main; sys.exit(main())", *arguments]
    with open(folder / "stderr.txt", "w") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=err)
    process.returncode = 0  # it is waited for by its id
    return Process(process.pid, folder)


def start_fork(arguments: Sequence[str], folder: Path) -> Process:
    """A fork of this process."""
    pid = os.fork()
    if pid:
        return Process(pid, folder)
    code = 1
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open("stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        from pithnet.cli import main

        code = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def new_writes(run: Path) -> Iterator[int]:
    """Without end: how many files of `run` have been seen being written."""
    seen: set[str] = set()
    while True:
        for folder in (run, run / "cache"):
            if folder.is_dir():
                seen |= {name for name in os.listdir(folder) if name.endswith(".part")}
        yield len(seen)


@dataclass
class Case:
    """One kind of run, and the uninterrupted one to compare with."""

    arguments: Sequence[str]
    root: Path
    start: Start
    rng: random.Random
    life: float = 0.0
    writes: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("before", "during", "after"), 0))

    @property
    def command(self) -> str:
        return self.arguments[0]

    def begin(self, folder: Path) -> Process:
        folder.mkdir(exist_ok=True)
        return self.start([*self.arguments, "--out", "run"], folder)

    def reference(self) -> Path:
        """The uninterrupted run; measures how long it lives and how many files it is seen to write."""
        folder, began = self.root / self.command, time.monotonic()
        process = self.begin(folder)
        for self.writes in new_writes(folder / "run"):
            if process.poll() is not None:
                break
            time.sleep(POLL)
        assert process.code == 0, process.errors()
        self.life = time.monotonic() - began
        return folder / "run"

    def kill(self, process: Process, moment: float) -> bool:
        """At `moment` (0 to 1) of its life; every third time, in a write chosen by `moment`.

        False where it had come to its end before.
        """
        deadline = time.monotonic() + moment * self.life
        due = 1 + int(moment * self.writes) if self.rng.random() < 1 / 3 else None
        for writes in new_writes(process.folder / "run"):
            done = writes >= due if due else time.monotonic() >= deadline
            if done or process.poll() is not None:
                break
            time.sleep(POLL)
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        begun = (process.folder / "run" / "settings.json").exists()
        self.counts["after" if not killed else "during" if begun else "before"] += 1
        return killed

    def torture(self, number: int, moment: float) -> Path:
        """A run killed at `moment`, resumed, half the times killed again, and so on to its end."""
        folder = self.root / f"{self.command}-{number}"
        while not self.kill(self.begin(folder), moment):
            shutil.rmtree(folder)
            moment *= 0.9
        while self.rng.random() < 0.5:
            self.kill(self.again(folder), self.rng.random())
        process = self.again(folder)
        assert process.wait() == 0, process.errors()
        return folder / "run"

    def again(self, folder: Path) -> Process:
        """--resume, or the command once more where there is no run yet and --resume says so."""
        process = self.start([self.command, "--resume", "run"], folder)
        if (folder / "run" / "settings.json").exists():
            return process
        assert process.wait() == 2, process.errors()
        assert NO_RUN in process.errors(), process.errors()
        assert len(process.errors().splitlines()) == 1, process.errors()
        return self.begin(folder)


def timeless(value: Any) -> Any:
    """JSON without what a clock says."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def content(path: Path) -> Any:
    """What must be equal of a file."""
    if path.suffix == ".json":
        return timeless(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        text = path.read_text()
        assert text.endswith("\n"), f"{path} ends in half a line"
        return [timeless(json.loads(line)) for line in text.splitlines()]
    if path.suffix == ".html":  # holds seconds
        return path.read_text().rstrip().endswith("</html>")
    # One holds the log's size, the other shows how long the epochs took.
    return None if path.name in ("state.pt", "timeline.png") else path.read_bytes()


def contents(run: Path) -> dict[str, Any]:
    return {str(p.relative_to(run)): content(p) for p in sorted(run.rglob("*")) if p.is_file()}


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Names of files that are missing, too many or not the same."""
    return [n for n in sorted(expected.keys() | found.keys()) if expected.get(n, 0) != found.get(n, 0)]


def check(case: Case, kills: int) -> dict[str, Any]:
    """`kills` runs of a kind, each killed once or more. Raises AssertionError where one ends differently."""
    expected = contents(case.reference())
    for number in range(kills):
        moment = (number + case.rng.random()) / kills  # all parts of the life get their kills
        wrong = differences(expected, contents(case.torture(number, moment)))
        assert not wrong, f"{case.command}, kill {number} at {moment:.2f}: {', '.join(wrong)} differ"
        print(f"{case.command} {number + 1}/{kills}: the same", file=sys.stderr, flush=True)
    return {"runs": kills, "kills": case.counts, "life": round(case.life, 2), "files": len(expected)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="runs of each kind, each killed at least once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fork", action="store_true", help="start processes by fork")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.fork:
        import torch

        from pithnet.cli import main as _main  # noqa: F401
        from pithnet.commands import compress as _compress  # noqa: F401
        from pithnet.report import publish  # noqa: F401

        torch.set_num_threads(1)
    start = start_fork if options.fork else start_anew
    with tempfile.TemporaryDirectory() as temporary:
        root, rng = Path(temporary), random.Random(options.seed)
        results = {"train": check(Case(TRAIN, root, start, rng), options.kills)}
        recipe, weights = root / "recipe.yaml", root / "train" / "run" / "model.pt"
        recipe.write_text(RECIPE)
        compress = (*COMPRESS, "--weights", str(weights), "--recipe", str(recipe))
        results["compress"] = check(Case(compress, root, start, rng), options.kills)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
