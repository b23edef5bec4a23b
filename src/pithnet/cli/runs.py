"""The commands that begin or continue a run, train, compress, demo and lab, and plan, which tells of one."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pithnet.cli.printing import accuracy_line, print_results, show
from pithnet.commands.settings import CompressSettings, DataSettings, PlanSettings, TrainSettings
from pithnet.errors import PithError, lookup
from pithnet.labs import LABS, LabOptions

if TYPE_CHECKING:
    from pithnet.commands.compress import Announce, Finished

TYPED: ContextVar[list[str]] = ContextVar("typed")
_DATA, _TRAIN, _COMPRESS, _LAB = DataSettings(), TrainSettings(), CompressSettings(), LabOptions()
_PLAN = PlanSettings()
Data = Annotated[DataSettings, Parameter(name="*")]


def demo(*, out: Path = Path("demo"), json: bool = False) -> None:
    """Train a small network on the bundled digits, compress it, load the file and compare, in under a minute.

    Args:
        out: Put the run into this folder. An earlier demo there is replaced.
        json: Print the results as one JSON object.
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
        data: Take the images that these options name.
        settings: Train as these options say.
        out: Put the run into this new folder.
        resume: Continue the stopped run of this folder with its own settings.
        json: Print the results as one JSON object.
    """
    from pithnet.commands import train as training
    from pithnet.run.progress import reporter

    run = _run_folder(out, resume, (data, settings) == (_DATA, _TRAIN))
    with _says_how_to_resume("train", run), reporter() as report:
        if resume:
            results = training.resume(run, report=report)
        else:
            results = training.train(data, settings, run, report=report, command=_command())
    measured = [f"{accuracy_line(results['test'])} {results['measured_on']}"] if results["test"] else []
    print_results(results, json, *measured, f"weights: {run / 'model.pt'}")


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
        data: Take the images that these options name.
        settings: Compress as these options say.
        out: Put the run into this new folder: model.pith, report.html, results.json and what it takes to
            resume.
        resume: Continue the stopped run of this folder with its own settings.
        json: Print the results as one JSON object.
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


def plan(
    data: Data = _DATA,
    settings: Annotated[PlanSettings, Parameter(name="*")] = _PLAN,
    *,
    json: bool = False,
) -> None:
    """Show what a recipe would do to each layer of a network, in bytes and multiply-accumulates.

    Args:
        data: Take the data that these options name, to learn what an input is.
        settings: Plan as these options say.
        json: Print the plan as one JSON object, as compress writes it to plan.json.
    """
    from pithnet.cli.tables import plan_lines, plan_table
    from pithnet.commands.plan import plan as make_plan
    from pithnet.run.progress import reporter

    with reporter() as report:
        found = make_plan(data, settings, report=report)
    if json:
        print_results(found.to_json(), json)
    else:
        show(plan_table(found, settings.recipe), *plan_lines(found))


def lab(name: str, options: Annotated[LabOptions, Parameter(name="*")] = _LAB, *, out: Path) -> None:
    """Run one of the field's classic experiments and write its tables, plots and page.

    Args:
        name: Run the lab linear, fixed-point, pruning, deep-compression, ptq or claims.
        options: Run the lab as these options say.
        out: Put results.json, tables, plots and index.html into this folder.
    """
    from pithnet.run.progress import reporter

    run = importlib.import_module(lookup("lab", name, LABS, PithError)).run
    with _says_how_to_resume("lab", out), reporter() as progress:
        print(f"results: {run(out, options, progress=progress)}\npage: {out / 'index.html'}")


def _command() -> str:
    """What was typed, for results.json."""
    return shlex.join(["pithnet", *TYPED.get()])


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

    return lambda plan: show(plan_table(plan, recipe))


def _show_compression(finished: Finished, json: bool) -> None:
    """Writes the report and prints what came out."""
    from pithnet.cli.tables import result_lines, result_table
    from pithnet.report import publish

    page = publish(finished.store.path)
    if json:
        print_results(finished.results, json)
    else:
        file = finished.store.path / "model.pith"
        lines = (*result_lines(finished.results), f"file: {file}", f"report: {page}")
        show(result_table(finished.results), *lines)
