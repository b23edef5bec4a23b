"""`pn.compress`, `pn.plan` and what they return; the other public names come from their rooms."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import artifact
from pithnet.artifact import Inspection, Metadata
from pithnet.data import ArrayData
from pithnet.errors import PithWarning, RecipeError
from pithnet.heartbeat import working
from pithnet.learn import Evaluation, Loss, Metric, Scores
from pithnet.passes import Given
from pithnet.recipe import Recipe, as_recipe, with_budget
from pithnet.report import publish
from pithnet.results import Store
from pithnet.run.compression import carry_out
from pithnet.run.plan import Plan, make_plan
from pithnet.run.problem import prepare
from pithnet.run.progress import Beats
from pithnet.run.result import Result, record
from pithnet.run.resumption import begun, file_digest
from pithnet.surgery import LeftOut, unwrapped


class CompressionResult:
    """A compressed model, its file's bytes, and what was lost and gained; `print` shows it in a few lines.

    Attributes:
        results: Everything, as results.json holds it.
    """

    def __init__(self, result: Result, store: Store, results: dict[str, Any]) -> None:
        self.result, self.results, self._store = result, results, store

    @property
    def model(self) -> nn.Module:
        """The finalized network, in eval mode, with the very numbers of the file."""
        return self.result.model

    @property
    def before(self) -> Evaluation | Scores | None:
        """The float model on `val`, None without it; an `Evaluation`, or with `metric` its `Scores`."""
        return self.result.before

    @property
    def after(self) -> Evaluation | Scores | None:
        """The compressed model on `val`, None without it; an `Evaluation`, or with `metric` its `Scores`."""
        return self.result.after

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return self.result.bytes

    @property
    def ratio(self) -> float:
        """The bytes of the float32 state_dict / the bytes of the file."""
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
        """Writes the .pith file.

        Raises:
            ArtifactError: The file cannot be written.
        """
        self.result.save(path)

    def report(self, path: str | Path) -> Path:
        """Writes the report, one HTML page, and its figures as PNG beside it.

        The figures' folder is `figures` for a page named report.html, else the page's name with `-figures`.

        Returns:
            The page's path.

        Raises:
            PithError: The page or a figure cannot be written.
        """
        return publish(self._store.path, Path(path))

    def __str__(self) -> str:
        return str(self.result)


def compress(
    model: nn.Module,
    train: Iterable[Any] | None = None,
    val: Iterable[Any] | None = None,
    recipe: str | Path | Mapping[str, Any] | Recipe = "deep-compression",
    *,
    budget: Mapping[str, float] | None = None,
    also: Sequence[str] = (),
    loss: Loss | None = None,
    metric: Metric | None = None,
    teacher: nn.Module | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    rivals: bool = True,
    source: str | Path | None = None,
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

    A warning (PithWarning) says, before anything is trained, where the recipe's passes leave out more than a
    tenth of the matrices that it does not skip, with the call that would cover them; another says, at the
    end, where a trivial way takes fewer bytes than the file.

    Args:
        model: The float network.
        train: A loader to fine-tune on; y int64 (B,), the class. Without labels (and without `loss`) the
            model learns from the float model's logits, or the teacher's, alone: distillation with weight 1,
            whatever the recipe says. The run's events and its recipe.yaml say so.
        val: A loader with labels to measure on, before and after, the same samples.
        recipe: A preset's name, a YAML file, a dict with a YAML file's keys, or a Recipe.
        budget: What the network may cost, in the place of what the recipe says, such as {"bytes": 63_000} or
            {"macs": 0.5}: a share up to 1, or a whole number above 1.
        also: Name patterns of parameters that every pass of the recipe is to compress beside the known kinds
            of layer, as in `prune`: bare matrices, experts.
        loss: (outputs, targets) -> scalar tensor, the mean of the batch, in place of the cross-entropy:
            `F.mse_loss`, say. outputs are what the model returned, targets what the loader gave: y, or None.
            The recipe's distillation is left out unless outputs and targets are those of a classification;
            to distil a regression, yield (x, the teacher's outputs). "auto" precision is float32.
        metric: (outputs, targets) -> (B,), a score per sample, in place of the accuracy. Of scores that are 0
            or 1 the intervals are those of shares, of others the normal ones. Its name is the function's.
        teacher: The network to learn from where the recipe distils; the float model itself without one.
        out: A new folder that keeps the run: recipe, events, weights, model.pith, results.json.
        resume: Whether a run that was stopped in `out` goes on after its last whole epoch, and ends in the
            bytes that it would have ended in. It needs the same model, recipe and data as before; where there
            is no run in `out` yet, one begins.
        seed: Overrides the recipe's. It decides the order of shuffled DataLoaders, too, and the global random
            numbers are afterwards as they were.
        rivals: Whether the trivial ways (float16, int8, pruned float16, each with zstd) are measured beside
            the file. Above half a million numbers they are estimated from samples, and shown with "~".
        source: The checkpoint that `model` was loaded from; the .pith names it by the first 8 bytes of its
            SHA-256, as that of `pithnet compress --weights` does, and is then the very same file.

    Returns:
        The compressed model, its file's bytes, and what was lost and gained.

    Raises:
        RecipeError: The recipe is not valid, the model or the data cannot give what it asks for, or `resume`
            has no `out`.
        DataError: Batches, labels, loss or metric cannot be used.
        ModelError: Weights are NaN, outputs hold no logits, or there is nothing to compress.
        PithError: `source` cannot be read. `out` cannot be written, holds a run and `resume` is not set, or
            another run than this one. All but faults in later batches of `train` are found at the start.
    """
    chosen, network = _chosen(recipe, budget, seed, also), unwrapped(model)
    digest = None if source is None else file_digest(source)
    if resume and out is None:
        raise RecipeError("resume=True continues the run in a folder: say which by out=")
    with working("compress") as step, _folder(out) as folder:
        problem = prepare(
            network,
            chosen,
            train=train,
            test=val,
            teacher=None if teacher is None else unwrapped(teacher),
            loss=loss,
            metric=metric,
            metadata=_metadata(network, train, val, chosen.name, digest),
            cache=folder / "cache",
        )
        plan = make_plan(network, chosen, Given(seed=chosen.seed, example=problem.given.sample))
        _warn_of_what_is_left_out(plan)
        with begun(folder, problem, chosen, resume=resume, kept=out is not None) as (store, continued):
            store.write_record("plan.json", plan.to_json())
            result = carry_out(continued, store, Beats(step), with_rivals=rivals)
            results = record(result, continued.recipe, store, "pn.compress")
    finished = CompressionResult(result, store, results)
    if out is None:
        weakref.finalize(finished, shutil.rmtree, folder, ignore_errors=True)
    _warn_of_a_rival(result)
    return finished


def _chosen(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    budget: Mapping[str, float] | None,
    seed: int | None,
    also: Sequence[str],
) -> Recipe:
    """Returns the recipe with what the arguments beside it say."""
    chosen = as_recipe(recipe)
    chosen = chosen if seed is None else chosen.with_seed(seed)
    chosen = chosen if budget is None else with_budget(chosen, budget)
    return chosen.with_also(also)


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """`out`, or a new temporary folder that goes where the run fails."""
    path = Path(tempfile.mkdtemp(prefix="pithnet-")) if out is None else Path(out)
    try:
        yield path
    except BaseException:
        if out is None:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _warn_of_what_is_left_out(plan: Plan) -> None:
    if plan.coverage.advice is not None:
        shown = f"only {100 * plan.coverage.share:.1f} % of the parameters will be compressed"
        warnings.warn(f"{shown}: {plan.coverage.advice}", PithWarning, stacklevel=3)


def _warn_of_a_rival(result: Result) -> None:
    rival = result.smaller_rival
    if rival is not None:
        about = "~" if result.rivals_estimated else ""
        warnings.warn(
            f"{rival} takes {about}{result.rivals[rival]:,} bytes and this file {result.bytes:,}; "
            "a recipe with more zeros or fewer levels makes it smaller",
            PithWarning,
            stacklevel=3,
        )


def plan(
    model: nn.Module,
    recipe: str | Path | Mapping[str, Any] | Recipe = "deep-compression",
    *,
    budget: Mapping[str, float] | None = None,
    also: Sequence[str] = (),
    example: Any = None,
    seed: int | None = None,
) -> Plan:
    """Says what `compress` would do to each layer, and about how many bytes the file would take.

    Nothing is trained and no pass is run: passes plan on samples of the weights, which takes about a second
    for a model of any size. `print` shows the plan.

    Args:
        model: The float network; it is not changed.
        recipe: A preset's name, a YAML file, a dict with a YAML file's keys, or a Recipe.
        budget: Budgets in the place of the recipe's, as in `compress`.
        also: Name patterns of further parameters to compress, as in `compress`.
        example: An input of the model, a tensor (B, ...), a tuple or a dict of them; with one, the plan
            counts multiply-accumulates too.
        seed: Overrides the recipe's, as in `compress`.

    Raises:
        RecipeError: The recipe is not valid, or asks for what the model cannot give.
        ModelError: A layer cannot be compressed so.
        ArtifactError: No file holds the model.
    """
    chosen, network = _chosen(recipe, budget, seed, also), unwrapped(model)
    return make_plan(network, chosen, given=Given(seed=chosen.seed, example=example))


def inspect(path: str | Path) -> Inspection:
    """Tells where the bytes of a .pith file went.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    return artifact.inspect_file(path)


def save(model: nn.Module, path: str | Path) -> None:
    """Writes any model as a .pith file, bit for bit; finalize it first, nothing is rounded here.

    Args:
        model: The network; its tensors may be of any dtype that a file holds.
        path: The file, which is replaced where it exists.

    Raises:
        ArtifactError: A file cannot hold one of the tensors, which the message names, or it cannot be
            written.
    """
    artifact.save(path, artifact.encode(model))


def _metadata(model: nn.Module, train: object, val: object, recipe: str, source: str | None) -> Metadata:
    """What the loaders and a network of the zoo say of themselves, and which file it came from."""
    meta = artifact.with_architecture(Metadata(recipe=recipe, source=source), model)
    normalization = getattr(val, "normalization", None) or getattr(train, "normalization", None)
    if normalization is not None:
        meta = replace(meta, normalization=(normalization.mean, normalization.std))
    data = getattr(train if val is None else val, "data", None)
    return replace(meta, dataset=data.name) if isinstance(data, ArrayData) else meta
