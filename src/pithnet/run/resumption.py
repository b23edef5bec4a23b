"""A run of `pn.compress` in its folder: begun, or gone on with where it is the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pithnet.artifact import plain_state
from pithnet.errors import PithError
from pithnet.learn import batches_per_epoch
from pithnet.learn.batch import tensors
from pithnet.recipe import Recipe, load_recipe, to_yaml
from pithnet.results import Store
from pithnet.results.store import SETTINGS
from pithnet.run.problem import Problem

_WHAT = {
    "model": "the model's weights are not those",
    "recipe": "the recipe is not the one",
    "train": "the training data are not those",
    "teacher": "the teacher is not the one",
}


@contextmanager
def begun(
    folder: Path, problem: Problem, asked: Recipe, *, resume: bool, kept: bool
) -> Iterator[tuple[Store, Problem]]:
    """Opens the store of a run of `problem` for the block's time.

    A run that goes on keeps the recipe as it was resolved when it began: another machine might decide
    otherwise.

    Args:
        folder: Where the run is, or is to be.
        problem: What is compressed.
        asked: The recipe as the caller gave it, with nothing decided.
        resume: Whether a run that is there goes on.
        kept: Whether the folder outlives the run, so that another may go on in it.

    Yields:
        The store, and the problem as the run began with it.

    Raises:
        PithError: The folder holds a run and `resume` is not set, or one with another model, recipe, teacher
            or training data; or it cannot be written.
    """
    inputs = _fingerprints(problem, asked) if kept else {}
    if resume and (folder / SETTINGS).exists():
        with Store.open(folder) as store:
            _check(store, inputs)
            yield store, replace(problem, recipe=load_recipe(folder / "recipe.yaml"))
        return
    settings = {"kind": "api", "recipe": asked.name, "inputs": inputs}
    files = {"recipe.yaml": to_yaml(problem.recipe).encode()}
    advice = "continue it with resume=True, or choose another `out`"
    with Store.create(folder, settings, files, advice) as store:
        yield store, problem


def _check(store: Store, now: dict[str, str]) -> None:
    content = store.read_json(SETTINGS)
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind != "api" or not isinstance(content.get("inputs"), dict):
        raise PithError(
            f"{store.path} holds no run of pn.compress that can be continued; choose another `out`"
        )
    for name, said in _WHAT.items():
        if content["inputs"].get(name) != now.get(name):
            raise PithError(
                f"{said} that the run in {store.path} began with; give the same, or choose another `out`"
            )


def _fingerprints(problem: Problem, asked: Recipe) -> dict[str, str]:
    """Digests of what a run begins with, by name."""
    recipe = hashlib.sha256(to_yaml(asked).encode()).hexdigest()
    found = {"model": state_digest(plain_state(problem.model)), "recipe": recipe}
    if problem.teacher is not None:
        found["teacher"] = state_digest(plain_state(problem.teacher))
    if problem.train is not None and asked.epochs:
        found["train"] = batches_digest(problem.train, problem.given.example, "train")
    return found


def batches_digest(loader: Iterable[Any], example: Any, what: str) -> str:
    """Returns the number of batches of a loader, and a digest of the inputs of its first batch.

    Args:
        loader: Yields batches.
        example: The inputs of its first batch.
        what: What messages call the loader.

    Raises:
        DataError: The loader has no length.
    """
    first = {str(i): value for i, value in enumerate(tensors(example))}
    return f"{batches_per_epoch(loader, what)} batches, {state_digest(first)}"


def file_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hex digits.

    Raises:
        PithError: The file cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as e:
        raise PithError(f"{path} cannot be read: {e.strerror or e}") from None


def state_digest(state: Mapping[str, Any]) -> str:
    """Returns the SHA-256, in hex digits, of tensors with their names, dtypes and shapes."""
    digest = hashlib.sha256()
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            plain = value.detach().cpu().contiguous().reshape(-1)
            if plain.numel():
                digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()
