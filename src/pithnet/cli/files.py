"""The commands that read finished files and runs: evaluate, inspect, unpack, export, bench and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pithnet.cli.printing import accuracy_line, print_results, show
from pithnet.commands.settings import BenchSettings, DataSettings, ExportSettings

_DATA, _EXPORT, _BENCH = DataSettings(), ExportSettings(), BenchSettings()
Data = Annotated[DataSettings, Parameter(name="*")]


def evaluate(
    file: Path, data: Data = _DATA, *, model: str | None = None, device: str = "cpu", json: bool = False
) -> None:
    """Measure the accuracy of a .pith file, an ONNX file or a checkpoint.

    Args:
        file: Read this .pith file, ONNX file, or checkpoint of the architecture --model.
        data: Take the images that these options name.
        model: Name the architecture of a checkpoint, such as resnet20, or a function of your own that returns
            the network of a checkpoint or .pith file, as package.module:function.
        device: Run the network on cpu, or on cuda, which is one GPU. An ONNX file runs on the CPU.
        json: Print one JSON object with accuracy (0 to 1), interval, loss, n, bytes and more.
    """
    from pithnet.commands.evaluate import measure
    from pithnet.run.progress import reporter

    with reporter() as report:
        found = measure(file, data, model, device=device, report=report)
    measured = f"{accuracy_line(found)} {found['measured_on']}; {found['bytes']:,} bytes"
    print_results(found, json, measured)


def inspect(file: Path, *, json: bool = False) -> None:
    """Show where the bytes of a .pith file went.

    Args:
        file: Read this .pith file.
        json: Print one JSON object with bytes, ratio, architecture, normalization, tensors and more.
    """
    from pithnet import artifact
    from pithnet.cli.tables import inspection_lines, inspection_table

    found = artifact.inspect_file(file)
    if json:
        print(found.to_json())
    else:
        show(inspection_table(found), *inspection_lines(found))


def unpack(file: Path, *, to: Path) -> None:
    """Write the tensors of a .pith file as a plain checkpoint, in the dtypes of the file.

    Args:
        file: Read this .pith file.
        to: Write this checkpoint, which torch.load and every other tool reads.
    """
    from pithnet import artifact
    from pithnet.run.states import save_checkpoint

    state = artifact.decode_file(file)
    save_checkpoint(to, state)
    print(f"{len(state)} tensors in {to}")


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
        file: Read this .pith file, or this checkpoint of the architecture --model.
        data: Take the images that these options name.
        settings: Write the file as these options say.
        to: Write this ONNX file.
        json: Print one JSON object with bytes, operators, in_float, max_difference, step and more.
    """
    from pithnet.commands.export import export as run_export
    from pithnet.commands.export import export_lines
    from pithnet.run.progress import reporter

    with reporter() as progress:
        found = run_export(file, to, data, settings, report=progress)
    print_results(found, json, *export_lines(found))


def bench(
    *files: Path,
    settings: Annotated[BenchSettings, Parameter(name="*")] = _BENCH,
    json: bool = False,
) -> None:
    """Time ONNX files, .pith files and checkpoints on this machine against PyTorch and the runtime's float32.

    Args:
        files: Time these ONNX files, .pith files, or checkpoints of the architecture --model.
        settings: Time them as these options say.
        json: Print one JSON object with rows (one per file, runtime, batch size and number of threads),
            verdicts and hardware.
    """
    from pithnet.cli.bench_table import bench_cells, bench_lines, bench_table
    from pithnet.commands.bench import bench as run_bench
    from pithnet.run.progress import reporter

    with reporter() as progress:
        found = run_bench(files, settings, report=progress)
    if json:
        print_results(found, json)
    else:
        show(*(bench_table(found, *cell) for cell in bench_cells(found)), *bench_lines(found))


def report(run: Path, *, out: Path | None = None) -> None:
    """Write the report of a run again: one page that needs no network, and its figures as PNG.

    Args:
        run: Read the finished run in this folder.
        out: Write this page, and put its figures beside it. Without it, the page is report.html in the run.
    """
    from pithnet.report import publish

    print(publish(run, out))
