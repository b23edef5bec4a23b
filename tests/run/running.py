"""Recipes carried out as the callers do: prepared, planned, and stopped where a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pithnet.learn import EpochRecord
from pithnet.recipe import Recipe
from pithnet.results import Store
from pithnet.run.compression import carry_out
from pithnet.run.plan import make_plan
from pithnet.run.problem import prepare
from pithnet.run.progress import Quiet
from pithnet.run.result import Result

Parts = dict[str, Any]


class Crash(Exception):
    """The machine went away."""


class Shown(Quiet):
    """Keeps what is shown, and crashes when so many epochs have been."""

    def __init__(self, crash_at: int = 0) -> None:
        self.crash_at = crash_at
        self.batches: list[tuple[str, int, int]] = []
        self.epochs: list[tuple[str, int, int]] = []

    def batch(self, title: str, done: int, total: int) -> None:
        self.batches.append((title, done, total))

    def epoch(self, title: str, record: EpochRecord, epochs: int) -> None:
        self.epochs.append((title, record.epoch, epochs))
        if len(self.epochs) == self.crash_at:
            raise Crash


def run(
    parts: Parts, recipe: Recipe, store: Store | None = None, show: Quiet | None = None, **options: Any
) -> Result:
    """Prepares, plans and carries out; parts: those of `prepare`, and the model."""
    make_plan(parts["model"], recipe)
    others = {name: value for name, value in parts.items() if name != "model"}
    return carry_out(prepare(parts["model"], recipe, **others), store, show, **options)


def crash_after(count: int) -> Callable[..., None]:
    """A callback that raises at its `count`-th call."""
    calls = 0

    def callback(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == count:
            raise Crash

    return callback
