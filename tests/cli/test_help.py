"""Help is quick: nothing heavy is imported for it."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from pithnet.cli.app import app

from .conftest import Run

IMPERATIVES = {
    *("Calibrate", "Carry", "Choose", "Compress", "Compute", "Continue", "Draw", "Fetch", "Give", "Hold"),
    *("Keep", "Learn", "Let", "Measure", "Name", "Normalise", "Plan", "Print", "Put", "Read", "Run", "Show"),
    *("Scale", "Spread", "Start", "Step", "Store", "Take", "Time", "Train", "Weigh", "Write"),
}
HEAVY = ("torch", "numpy", "pydantic", "matplotlib", "yaml", "jinja2")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from pithnet.cli.app import main; main(sys.argv[1:]);"
        f"print('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    )
    before = _children_seconds()
    out = subprocess.run(
        [sys.executable, "-c", script, "compress", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--weights" in out
    assert "HEAVY []" in out
    # Processor time, so that a busy machine does not matter; torch alone takes longer than this.
    assert _children_seconds() - before < 1


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "pithnet"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    wrong = subprocess.run([*command, "prone"], capture_output=True, text=True, check=False)
    assert shown.stdout.split() == [version("pithnet")]
    assert wrong.returncode == 2
    assert "unknown command 'prone'" in wrong.stderr, wrong.stderr


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "compress",
        "evaluate",
        "inspect",
        "unpack",
        "report",
        "lab",
        "demo",
        "plan",
        "export",
        "bench",
    ],
)
def test_every_command_explains_itself(command: str, run: Run) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"pithnet {command}" in out
    assert app[command].help


def _helps() -> Iterator[tuple[str, str]]:
    """(where, text) of every command and of every option and argument."""
    for name in app:
        yield name, str(app[name].help).split("Args:")[0].strip()
        if name[0] != "-":
            for argument in app[name].assemble_argument_collection(parse_docstring=True):
                if argument.parameter.help:
                    yield f"{name} {argument.name}", argument.parameter.help


def test_every_line_of_help_is_whole_sentences() -> None:
    helps = dict(_helps())
    assert len(helps) > 80
    assert {"compress --recipe", "bench --batch", "lab --items", "train --teacher"} <= helps.keys()
    for where, text in helps.items():
        assert text[0].isupper(), where
        assert text.rstrip()[-1] == ".", where
        first = text.split()[0].rstrip(",")
        assert first in IMPERATIVES, f"{where} begins with {first!r}, which asks for nothing"


def test_importing_pithnet_does_not_import_torch() -> None:
    script = (
        "import sys, pithnet; assert 'torch' not in sys.modules; pithnet.prune; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
