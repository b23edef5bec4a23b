"""What the items of `lab pruning` share: the notebook, the images, and the network each begins from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

from torch import nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pruning.settings import Settings
from pithnet.labs.pruning.sparsity import layer_rows, sparsity_columns
from pithnet.labs.training import Trained, accuracy_columns, float_network, train, training_columns
from pithnet.labs.workbench import Workbench
from pithnet.learn import StepSchedule, Training


class PruningLab:
    """The float network `start`, and how its copies are trained and measured."""

    def __init__(self, book: Notebook, bench: Workbench, settings: Settings) -> None:
        self.book, self.bench, self.settings = book, bench, settings
        self.baseline = float_network(book, bench, settings.baseline)
        self.start, self.correct = self.baseline.model, self.baseline.evaluation.correct

    @cached_property
    def _taught(self) -> Workbench:
        """The bench with the teacher's answers, if there is a teacher; the first training asks for them."""
        on_batch = partial(self.book.progress.batch, "teacher")
        return self.bench.taught(self.start, self.settings.views, self.book.out / "state", on_batch)

    def train(
        self,
        key: str,
        model: nn.Module,
        training: Training,
        schedule: Callable[[nn.Module], StepSchedule] | None = None,
    ) -> Trained:
        """Trains `model` in place, taught by the lab's teacher; as `pithnet.labs.training.train`."""
        return train(self.book, self._taught, key, model, training, schedule)

    def columns(self, trained: Trained) -> Row:
        """Returns what every trained network's row holds: accuracy against the start, epochs, zeros."""
        row = accuracy_columns(trained.evaluation, self.correct) | training_columns(trained)
        return row | sparsity_columns(trained.model, self.start)


def baseline_row(lab: PruningLab) -> None:
    """Measures item 1: the network that every other item begins from."""
    trained_here = bool(lab.baseline.history)

    def measure() -> Row:
        row = accuracy_columns(lab.baseline.evaluation)
        row["parameters"] = sum(p.numel() for p in lab.start.parameters())
        row["layers"] = layer_rows(lab.start, lab.start)
        # Nothing is pruned yet: that zeros stay says nothing here.
        columns = training_columns(lab.baseline) if trained_here else {}
        return row | {k: v for k, v in columns.items() if not k.startswith(("masks", "zeros"))}

    lab.book.row("1", "baseline" if trained_here else "checkpoint", measure)
