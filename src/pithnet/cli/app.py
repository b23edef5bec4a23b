"""The command line. `--help` imports this module and the settings: torch waits until a command runs."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownCommandError,
    UnusedCliTokensError,
)

from pithnet.commands.settings import (
    BenchSettings,
    CompressSettings,
    DataSettings,
    ExportSettings,
    TrainSettings,
)
from pithnet.errors import PithError, lookup, unknown
from pithnet.labs import LABS, LabOptions

if TYPE_CHECKING:
    from pithnet.commands.compress import Announce, Finished

app = App(
    name="pithnet",
    help="Makes trained neural networks small, and proves it. Every command has its own --help.",
    version=lambda: version("pithnet"),
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,  # main says how to resume
)
Data = Annotated[DataSettings, Parameter(name="*")]
_TYPED: ContextVar[list[str]] = ContextVar("typed")
_DATA, _TRAIN, _COMPRESS = DataSettings(), TrainSettings(), CompressSettings()
_EXPORT, _BENCH, _LAB = ExportSettings(), BenchSettings(), LabOptions()


@app.command
def demo(*, out: Path = Path("demo"), json: bool = False) -> None:
    """Train a small network on the bundled digits, compress it, load the file, compare: in under a minute.

    Args:
        out: where the run goes; an earlier demo there is replaced.
        json: print the results as one JSON object.
    """
    from pithnet.commands.demo import check_reload
    from pithnet.commands.demo import demo as run_demo
    from pithnet.run.progress import reporter

    with reporter() as report:
        finished = run_demo(out, report=report, announce=_announce("demo", json), command=_command())
    _show_compression(finished, json)
    if not json:
        same = check_reload(finished)
        print(f"loaded {out / 'model.pith'}: the same logits, bit for bit, on {same} test images")


@app.command
def train(
    data: Data = _DATA,
    settings: Annotated[TrainSettings, Parameter(name="*")] = _TRAIN,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    json: bool = False,
) -> None:
    """Train a network from random weights.

    Args:
        out: a new folder for the run.
        resume: the folder of a run that was stopped; it goes on with its own settings.
        json: print the results as one JSON object.
    """
    from pithnet.commands import train as training
    from pithnet.run.progress import reporter

    run = _run_folder(out, resume, (data, settings) == (_DATA, _TRAIN))
    with _says_how_to_resume("train", run), reporter() as report:
        if resume:
            results = training.resume(run, report=report)
        else:
            results = training.train(data, settings, run, report=report, command=_command())
    measured = f"{_accuracy(results['test'])} {results['measured_on']}"
    _print(results, json, measured, f"weights: {run / 'model.pt'}")


@app.command
def compress(
    data: Data = _DATA,
    settings: Annotated[CompressSettings, Parameter(name="*")] = _COMPRESS,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    json: bool = False,
) -> None:
    """Carry out a recipe on a trained network and write one small file.

    Args:
        out: a new folder for the run: model.pith, report.html, results.json and what it takes to resume.
        resume: the folder of a run that was stopped; it goes on with its own settings.
        json: print the results as one JSON object.
    """
    from pithnet.commands import compress as jobs
    from pithnet.run.progress import reporter

    run = _run_folder(out, resume, (data, settings) == (_DATA, _COMPRESS))
    with _says_how_to_resume("compress", run), reporter() as report:
        if resume:
            finished = jobs.resume(run, report=report, announce=_announce(str(run), json))
        else:
            announce = _announce(settings.recipe, json)
            finished = jobs.compress(
                data, settings, run, report=report, announce=announce, command=_command()
            )
    _show_compression(finished, json)


@app.command
def evaluate(
    file: Path, data: Data = _DATA, *, model: str | None = None, device: str = "cpu", json: bool = False
) -> None:
    """Measure the accuracy of a .pith file, an ONNX file or a checkpoint.

    Args:
        file: a .pith, an .onnx, or a checkpoint of the architecture --model.
        model: name of a checkpoint's architecture, such as resnet20.
        device: where the network runs: cpu, or cuda for one GPU. An ONNX file runs on the CPU.
        json: print one JSON object: accuracy (0-1), interval, loss, n, bytes, ...
    """
    from pithnet.commands.evaluate import measure
    from pithnet.run.progress import reporter

    with reporter() as report:
        found = measure(file, data, model, device=device, report=report)
    measured = f"{_accuracy(found)} images of {found['dataset']}; {found['bytes']:,} bytes"
    _print(found, json, measured)


@app.command
def inspect(file: Path, *, json: bool = False) -> None:
    """Show where the bytes of a .pith file went.

    Args:
        file: a .pith.
        json: print one JSON object: bytes, ratio, architecture, normalization, tensors, ...
    """
    from pithnet import artifact
    from pithnet.cli.tables import inspection_lines, inspection_table

    found = artifact.inspect_file(file)
    if json:
        print(found.to_json())
    else:
        _show(inspection_table(found), *inspection_lines(found))


@app.command
def unpack(file: Path, *, to: Path) -> None:
    """Write the tensors of a .pith file as a plain float32 checkpoint.

    Args:
        file: a .pith.
        to: the checkpoint to write, for torch.load and every other tool.
    """
    from pithnet import artifact
    from pithnet.commands.train import save_checkpoint

    state = artifact.decode_file(file)
    save_checkpoint(to, state)
    print(f"{len(state)} tensors in {to}")


@app.command
def export(
    file: Path,
    data: Data = _DATA,
    settings: Annotated[ExportSettings, Parameter(name="*")] = _EXPORT,
    *,
    to: Path,
    json: bool = False,
) -> None:
    """Write a .pith file or a checkpoint as ONNX, in float32 or int8, and check it in ONNX Runtime.

    Args:
        file: a .pith, or a checkpoint of the architecture --model.
        to: the ONNX file to write.
        json: print one JSON object: bytes, operators, in_float, max_difference, step, ...
    """
    from pithnet.commands.export import export as run_export
    from pithnet.commands.export import export_lines
    from pithnet.run.progress import reporter

    with reporter() as progress:
        found = run_export(file, to, data, settings, report=progress)
    _print(found, json, *export_lines(found))


@app.command
def bench(
    *files: Path,
    settings: Annotated[BenchSettings, Parameter(name="*")] = _BENCH,
    json: bool = False,
) -> None:
    """Time files on this machine: ONNX, .pith, checkpoints; against PyTorch eager and the runtime's float32.

    Args:
        files: ONNX files, .pith files, or checkpoints of the architecture --model.
        json: print one JSON object: rows (one per file, runtime, batch size, threads), verdicts, hardware.
    """
    from pithnet.cli.bench_table import bench_cells, bench_lines, bench_table
    from pithnet.commands.bench import bench as run_bench
    from pithnet.run.progress import reporter

    with reporter() as progress:
        found = run_bench(files, settings, report=progress)
    if json:
        _print(found, json)
    else:
        _show(*(bench_table(found, *cell) for cell in bench_cells(found)), *bench_lines(found))


@app.command
def report(run: Path, *, out: Path | None = None) -> None:
    """Write the report of a run again: one page that needs no network, and its figures as PNG.

    Args:
        run: the folder of a finished run.
        out: where the page goes; report.html in the run without it. The figures go beside it.
    """
    from pithnet.report import publish

    print(publish(run, out))


@app.command
def lab(name: str, options: Annotated[LabOptions, Parameter(name="*")] = _LAB, *, out: Path) -> None:
    """Run one of the field's classic experiments: tables, plots and a page.

    Args:
        name: linear, fixed-point, pruning, deep-compression, ptq or claims.
        out: a folder for results.json, tables, plots and index.html.
    """
    from pithnet.run.progress import reporter

    run = importlib.import_module(lookup("lab", name, LABS, PithError)).run
    with _says_how_to_resume("lab", out), reporter() as progress:
        print(f"results: {run(out, options, progress=progress)}\npage: {out / 'index.html'}")


def main(tokens: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, 2 for what the user can mend, 130 when stopped."""
    typed = sys.argv[1:] if tokens is None else tokens
    _TYPED.set(typed)
    try:
        app(typed, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as e:
        return _fail(_usage(e))
    except PithError as e:
        return _fail(str(e))
    except BrokenPipeError:
        sys.stderr.close()  # who read our output has gone; Python would complain at exit
        return 1
    except OSError as e:
        return _fail(f"{e.filename}: {e.strerror}" if e.filename else str(e))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _usage(error: CycloptsError) -> str:
    """What is wrong with the options, in one line, and whose help to read."""
    tokens, argument = error.unused_tokens or [], error.argument
    found = " ".join(str(error).split())
    if isinstance(error, UnknownCommandError):
        found = unknown("command", tokens[0], [n for n in app if n[0] != "-"])
    elif isinstance(error, UnusedCliTokensError):
        found = f"unexpected: {shlex.join(tokens)}."
    elif isinstance(error, MissingArgumentError) and argument is not None and not argument.tokens:
        name = argument.name if argument.index is None else argument.name.lstrip("-").upper()
        found = f"{error.keyword} needs a value." if error.keyword else f"{name} is missing."
    return f"{found} See {' '.join(['pithnet', *(error.command_chain or ())])} --help."


def _fail(message: str) -> int:
    print(f"pithnet: {message}", file=sys.stderr)
    return 2


def _command() -> str:
    """What was typed, for results.json."""
    return shlex.join(["pithnet", *_TYPED.get()])


def _run_folder(out: Path | None, resume: Path | None, untouched: bool) -> Path:
    """The folder of a new or a resumed run. Raises PithError unless exactly one is asked for."""
    if resume is not None:
        if out is not None or not untouched:
            raise PithError(
                f"--resume {resume} goes on with that run's own settings; leave out the other options"
            )
        return resume
    if out is None:
        raise PithError("where should the run go? Give --out DIR, or --resume RUN to continue one")
    return out


@contextmanager
def _says_how_to_resume(command: str, run: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if (run / "settings.json").exists():
            print(
                f"stopped; continue with: pithnet {command} --resume {shlex.quote(str(run))}", file=sys.stderr
            )
        elif command == "lab":
            print("stopped; continue with the same command and --resume", file=sys.stderr)
        raise


def _announce(recipe: str, json: bool) -> Announce | None:
    """Prints the plan, unless stdout belongs to a JSON object."""
    if json:
        return None
    from pithnet.cli.tables import plan_table

    return lambda plan: _show(plan_table(plan, recipe))


def _show_compression(finished: Finished, json: bool) -> None:
    """Writes the report and prints what came out."""
    from pithnet.cli.tables import result_lines, result_table
    from pithnet.report import publish

    page = publish(finished.store.path)
    if json:
        _print(finished.results, json)
    else:
        file = finished.store.path / "model.pith"
        _show(
            result_table(finished.results),
            *result_lines(finished.results),
            f"file: {file}",
            f"report: {page}",
        )


def _accuracy(measured: dict[str, Any]) -> str:
    low, high = (100 * v for v in measured["interval"])
    share = f"{100 * measured['accuracy']:.2f} % (95 % interval {low:.2f} to {high:.2f})"
    return f"accuracy {share} on {measured['n']:,}"


def _print(results: dict[str, Any], json: bool, *lines: str) -> None:
    print(importlib.import_module("json").dumps(results) if json else "\n".join(lines))


def _show(*parts: Any) -> None:
    """Rich tables and plain lines on stdout, wide enough where it is no terminal."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=140)
    for part in parts:
        console.print(part, markup=False, highlight=False)
