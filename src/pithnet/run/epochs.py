"""The one epoch loop: of `train`, of a recipe's steps and of the labs. It can be stopped after any epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pithnet.learn import EpochRecord, Trainer
from pithnet.results import Store
from pithnet.run.progress import Quiet
from pithnet.run.states import State, save_state

Measure = Callable[[EpochRecord], dict[str, Any]]


def run_epochs(
    trainer: Trainer,
    store: Store | None,
    *,
    title: str,
    number: int = 0,
    state: Callable[[], State] = dict,
    file: str = "state.pt",
    resumed: State | None = None,
    measure: Measure = lambda epoch: {},
    show: Quiet | None = None,
) -> None:
    """Trains the epochs that are left; after each, the store holds what a later process needs to go on.

    Args:
        trainer: What is trained, and how.
        store: Gets an event for each epoch, and then the state; None keeps nothing.
        title: What the training is called in logs.
        number: The step that the training belongs to.
        state: Gives what the saved state holds beside "model" and "trainer".
        file: The state's file.
        resumed: The trainer's saved state, of which the training goes on.
        measure: Gives what else an epoch's event says.
        show: Shows the epochs that are done.

    Raises:
        ModelError: The loss is not finite.
        DataError: The batches cannot be used.
        PithError: The store cannot be written.
    """
    if resumed is not None:
        trainer.load_state_dict(resumed)
    for epoch in trainer.run():
        content = {**asdict(epoch), **measure(epoch)}
        if store is not None:
            store.event("epoch", number=number, step=title, **content)
            now = {"model": trainer.model.state_dict(), "trainer": trainer.state_dict(), **state()}
            save_state(store, now, file)
        if show is not None:
            show.epoch(title, epoch, trainer.training.epochs)
