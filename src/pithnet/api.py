"""`pn.compress` and what it returns; the other public names come from their rooms."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import artifact
from pithnet.artifact import Inspection, Metadata
from pithnet.data import ArrayData
from pithnet.errors import PithWarning
from pithnet.heartbeat import working
from pithnet.learn import Evaluation, Loss, Metric, Scores
from pithnet.recipe import Recipe, as_recipe, to_yaml
from pithnet.report import publish
from pithnet.run.compression import Compression, Problem
from pithnet.run.folder import RunFolder
from pithnet.run.plan import Plan, make_plan
from pithnet.run.progress import Beats
from pithnet.run.result import Result, results_json
from pithnet.surgery import LeftOut, unwrapped


class CompressionResult:
    """A compressed model, its file's bytes, and what was lost and gained; `print` shows it in a few lines.

    model: finalized, in eval mode: the very numbers of the file. before, after: the float model and the
    compressed one on `val`, None without it; an `Evaluation`, or with `metric` its `Scores`. results:
    everything, as results.json holds it.
    """

    def __init__(self, result: Result, folder: RunFolder, results: dict[str, Any]) -> None:
        self.result, self.results, self._folder = result, results, folder

    @property
    def model(self) -> nn.Module:
        return self.result.model

    @property
    def before(self) -> Evaluation | Scores | None:
        return self.result.before

    @property
    def after(self) -> Evaluation | Scores | None:
        return self.result.after

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.result.bytes

    @property
    def ratio(self) -> float:
        """float32 state_dict bytes / file bytes."""
        return self.result.ratio

    @property
    def coverage(self) -> float:
        """Parameters under a mask, codebook or quantizer / all parameters, in [0, 1]."""
        return self.result.coverage

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The tensors that nothing compresses, largest first: `.name`, `.parameters` and `.why`."""
        return self.result.left_out

    def save(self, path: str | Path) -> None:
        """Writes the .pith file. Raises ArtifactError where it cannot."""
        self.result.save(path)

    def report(self, path: str | Path) -> Path:
        """Writes the report, one HTML page, and its figures as PNG beside it; returns the page's path.

        The figures' folder is `figures` for a page named report.html, else the page's name with `-figures`.
        Raises PithError where they cannot be written.
        """
        return publish(self._folder.path, Path(path))

    def __str__(self) -> str:
        return str(self.result)


def compress(
    model: nn.Module,
    train: Iterable[Any] | None = None,
    val: Iterable[Any] | None = None,
    recipe: str | Path | Mapping[str, Any] | Recipe = "deep-compression",
    *,
    also: Sequence[str] = (),
    loss: Loss | None = None,
    metric: Metric | None = None,
    teacher: nn.Module | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    rivals: bool = True,
) -> CompressionResult:
    """Carries out a recipe on a copy of `model`; `model` itself stays as it is.

    Of one that torch.compile or DataParallel wrapped, the network inside is compressed. What takes long shows
    a line on stderr every ten seconds.

    A loader is any iterable with a length that can be iterated again, such as a DataLoader, a list of batches
    or `pn.data.Batches`. Its batches are (x, y), (x, y, teacher logits), x alone, or a dict, which holds the
    labels under "labels", "label" or "y" and inputs under its other keys. x is a tensor (B, ...) of any
    dtype, a tuple of them, for which the model is called as model(*x), or a dict: model(**x). Batches are
    moved to the model's device. The logits are the model's output, its `.logits` or ["logits"], or the first
    of a tuple.

    Args:
        train: a loader to fine-tune on; y int64 (B,), the class. Without labels (and without `loss`) the
            model learns from the float model's logits, or the teacher's, alone: distillation with weight 1,
            whatever the recipe says. The run's events and its recipe.yaml say so.
        val: a loader with labels to measure on, before and after, the same samples.
        recipe: a preset's name, a YAML file, a dict with a YAML file's keys, or a Recipe.
        also: name patterns of parameters that every pass of the recipe is to compress beside the known kinds
            of layer, as in `prune`: bare matrices, experts.
        loss: (outputs, targets) -> scalar tensor, the mean of the batch, in place of the cross-entropy:
            `F.mse_loss`, say. outputs are what the model returned, targets what the loader gave: y, or None.
            The recipe's distillation is left out unless outputs and targets are those of a classification;
            to distil a regression, yield (x, the teacher's outputs). "auto" precision is float32.
        metric: (outputs, targets) -> (B,), a score per sample, in place of the accuracy.
            Of scores that are 0 or 1 the intervals are those of shares, of others the normal ones. It is
            called by its function's name.
        teacher: who to learn from where the recipe distils; the float model itself without one.
        out: a new folder that keeps the run: recipe, events, weights, model.pith, results.json. A run that
            is stopped starts anew: only the command line's runs can be resumed.
        seed: overrides the recipe's. It decides the order of shuffled DataLoaders, too, and the global random
            numbers are afterwards as they were.
        rivals: whether the trivial ways (float16, int8, pruned float16, each with zstd) are measured beside
            the file. Above half a million numbers they are estimated from samples, and shown with "~".

    Raises RecipeError for a recipe that is not valid or that the model or the data cannot give, DataError for
    batches, labels, loss or metric that cannot be used, ModelError for NaN weights, outputs without logits or
    nothing to compress, PithError where `out` cannot be written or holds a run. All but faults in later
    batches of `train` is found before anything is trained.

    Warns (PithWarning), before anything is trained, where the recipe's passes leave out more than a tenth of
    the matrices that it does not skip, with the call that would cover them; at the end, where a trivial way
    takes fewer bytes than the file.
    """
    chosen, model = as_recipe(recipe), unwrapped(model)
    chosen = chosen if seed is None else chosen.model_copy(update={"seed": seed})
    chosen = chosen.with_also(also)
    teacher = None if teacher is None else unwrapped(teacher)
    problem = Problem(model, train, val, teacher=teacher, loss=loss, metric=metric)
    with working("compress") as step:
        plan = make_plan(model, chosen)
        problem.metadata = _metadata(model, train, val, chosen)
        beats = Beats(step)
        work = Compression(problem, chosen, progress=beats.batch, rivals=rivals)
        work.on_epoch = beats.epoch
        if plan.coverage.advice is not None:
            shown = f"only {100 * plan.coverage.share:.1f} % of the parameters will be compressed"
            warnings.warn(f"{shown}: {plan.coverage.advice}", PithWarning, stacklevel=2)
        finished = _finished(work, plan, out)
    rival = finished.result.smaller_rival
    if rival is not None:
        about = "~" if finished.result.rivals_estimated else ""
        warnings.warn(
            f"{rival} takes {about}{finished.result.rivals[rival]:,} bytes and this file {finished.bytes:,}; "
            "a recipe with more zeros or fewer levels makes it smaller",
            PithWarning,
            stacklevel=2,
        )
    return finished


def _finished(work: Compression, plan: Plan, out: str | Path | None) -> CompressionResult:
    """The result of a run in `out`, or in a folder that lives as long as the result."""
    path = Path(tempfile.mkdtemp(prefix="pithnet-")) if out is None else Path(out)
    try:
        finished = _run(work, plan, path)
    except BaseException:
        if out is None:
            shutil.rmtree(path, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(finished, shutil.rmtree, path, ignore_errors=True)
    return finished


def _run(work: Compression, plan: Plan, path: Path) -> CompressionResult:
    recipe_file = {"recipe.yaml": to_yaml(work.recipe).encode()}
    settings = {"kind": "api", "recipe": work.recipe.name}
    with RunFolder.create(path, settings, recipe_file, then="choose another `out`") as folder:
        folder.write_json("plan.json", plan.to_json())
        work.folder, work.problem.cache = folder, path / "cache"
        result = work.run()
        results = results_json(result, work.recipe, folder, "pn.compress")
        folder.write_json("results.json", results)
        result.save(path / "model.pith")
    return CompressionResult(result, folder, results)


def inspect(path: str | Path) -> Inspection:
    """Where the bytes of a .pith file went. Raises ArtifactError for one that is missing or damaged."""
    return artifact.inspect_file(path)


def save(model: nn.Module, path: str | Path) -> None:
    """Writes any model as a .pith file, bit for bit; finalize it first, nothing is rounded here.

    Raises ArtifactError naming the tensor that a file cannot hold, or where the file cannot be written.
    """
    artifact.save(path, artifact.encode(model))


def _metadata(model: nn.Module, train: object, val: object, recipe: Recipe) -> Metadata:
    """What the loaders and a network of the zoo say of themselves."""
    meta = Metadata(recipe=recipe.name)
    architecture = artifact.own_architecture(model, artifact.plain_state(model))
    if architecture is not None:
        meta = replace(meta, architecture=architecture[0], arguments=architecture[1])
    normalization = getattr(val, "normalization", None) or getattr(train, "normalization", None)
    if normalization is not None:
        meta = replace(meta, normalization=(normalization.mean, normalization.std))
    data = getattr(train if val is None else val, "data", None)
    return replace(meta, dataset=data.name) if isinstance(data, ArrayData) else meta
