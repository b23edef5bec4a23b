"""`pn.compress` and what it returns; the other public names come from their rooms."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import artifact
from pithnet.artifact import Inspection, Metadata
from pithnet.errors import RecipeError
from pithnet.learn import Evaluation
from pithnet.recipe import Recipe, load_recipe, to_yaml
from pithnet.report import write_report
from pithnet.run.compress import Compression, Problem
from pithnet.run.folder import RunFolder, write_atomic
from pithnet.run.jobs import results_json
from pithnet.run.plan import Plan, make_plan
from pithnet.run.result import Result


class CompressionResult:
    """A compressed model, its file's bytes, and what was lost and gained; `print` shows it in a few lines.

    model: finalized, in eval mode: the very numbers of the file. before, after: the float model and the
    compressed one on `val`, None without it. results: everything, as results.json holds it.
    """

    def __init__(self, result: Result, folder: RunFolder, results: dict[str, Any]) -> None:
        self.result, self.results, self._folder = result, results, folder

    @property
    def model(self) -> nn.Module:
        return self.result.model

    @property
    def before(self) -> Evaluation | None:
        return self.result.before

    @property
    def after(self) -> Evaluation | None:
        return self.result.after

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.result.bytes

    @property
    def ratio(self) -> float:
        """float32 state_dict bytes / file bytes."""
        return self.result.ratio

    def save(self, path: str | Path) -> None:
        """Writes the .pith file. Raises ArtifactError where it cannot."""
        self.result.save(path)

    def report(self, path: str | Path) -> Path:
        """Writes the report, one HTML page, and returns where. Raises PithError where it cannot."""
        return write_report(self._folder.path, Path(path))

    def __str__(self) -> str:
        return str(self.result)


def compress(
    model: nn.Module,
    train: Iterable[Any] | None = None,
    val: Iterable[Any] | None = None,
    recipe: str | Path | Recipe = "deep-compression",
    *,
    teacher: nn.Module | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
) -> CompressionResult:
    """Carries out a recipe on a copy of `model`; `model` itself stays as it is.

    Args:
        train: a loader of (x, y) or (x, y, teacher logits) to fine-tune on; x float32 (B, C, H, W), y
            int64 (B,), or None where a teacher is enough. It has a length and can be iterated again, as a
            DataLoader or `pn.data.Batches`.
        val: a loader of (x, y) to measure accuracy on, before and after.
        recipe: a preset's name, a YAML file, or a Recipe.
        teacher: who to learn from where the recipe distils; the float model itself without one.
        out: a folder that keeps the run: recipe, events, weights, model.pith, results.json.
        seed: overrides the recipe's.

    Raises RecipeError for a recipe that is not valid or that the model or the data cannot give, ModelError
    for NaN weights or nothing to compress, PithError where `out` cannot be written or holds a run.
    """
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    chosen = chosen if seed is None else chosen.model_copy(update={"seed": seed})
    if train is not None and (isinstance(train, Iterator) or not isinstance(train, Sized)):
        raise RecipeError(
            "train must have a length and start anew every epoch, as a DataLoader does; this is a "
            f"{type(train).__name__}"
        )
    problem = Problem(model, train, val, _metadata(model, train, val, chosen), teacher)
    plan = make_plan(model, chosen)
    path = Path(tempfile.mkdtemp(prefix="pithnet-")) if out is None else Path(out)
    try:
        finished = _run(problem, chosen, plan, path)
    except BaseException:
        if out is None:
            shutil.rmtree(path, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(finished, shutil.rmtree, path, ignore_errors=True)
    return finished


def _run(problem: Problem, recipe: Recipe, plan: Plan, path: Path) -> CompressionResult:
    folder = RunFolder.create(path, {"kind": "api", "recipe": recipe.name})
    write_atomic(path / "recipe.yaml", to_yaml(recipe).encode())
    folder.write_json("plan.json", plan.to_json())
    problem.cache = path / "cache"
    result = Compression(problem, recipe, folder).run()
    results = results_json(result, recipe, folder, "pn.compress")
    folder.write_json("results.json", results)
    result.save(path / "model.pith")
    return CompressionResult(result, folder, results)


def inspect(path: str | Path) -> Inspection:
    """Where the bytes of a .pith file went. Raises ArtifactError for one that is missing or damaged."""
    return artifact.inspect(artifact.read(path))


def save(model: nn.Module, path: str | Path) -> None:
    """Writes any model as a .pith file, bit for bit; finalize it first, nothing is rounded here.

    Raises ArtifactError naming the tensor that a file cannot hold, or where the file cannot be written.
    """
    artifact.save(path, artifact.encode(model))


def _metadata(model: nn.Module, train: object, val: object, recipe: Recipe) -> Metadata:
    """What the loaders and a network of the zoo say of themselves."""
    meta = Metadata(recipe=recipe.name)
    architecture = getattr(model, "architecture", None)
    if isinstance(architecture, tuple) and len(architecture) == 2:
        meta = replace(meta, architecture=architecture[0], arguments=dict(architecture[1]))
    normalization = getattr(val, "normalization", None) or getattr(train, "normalization", None)
    if normalization is not None:
        meta = replace(meta, normalization=(normalization.mean, normalization.std))
    return meta
