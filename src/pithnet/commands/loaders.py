"""Loaders of the user's own, which --data names as package.module:function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pithnet.commands.callables import call_named
from pithnet.commands.settings import DataSettings
from pithnet.errors import DataError, require_known
from pithnet.learn import Batch, Loss, Metric, batches_per_epoch, first_batch
from pithnet.surgery.graph.inputs import one_sample

_KEYS = ("train", "val", "loss", "metric")


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnLoaders:
    """What the user's function returned, checked.

    Attributes:
        name: The function, package.module:function.
        train: Batches to learn from, or None.
        val: Batches to measure on, or None.
        loss: (outputs, targets) -> scalar; None is the cross-entropy.
        metric: (outputs, targets) -> a score per sample; None is the accuracy.
    """

    name: str
    train: Iterable[Any] | None = None
    val: Iterable[Any] | None = None
    loss: Loss | None = None
    metric: Metric | None = None

    def wanted(self, part: str, why: str) -> Iterable[Any]:
        """Returns the loader "train" or "val".

        Args:
            part: Which one.
            why: What it is needed for, at the end of the message.

        Raises:
            DataError: The function returned none.
        """
        found: Iterable[Any] | None = getattr(self, part)
        if found is None:
            raise DataError(f"--data {self.name} returned no {part} loader, {why}")
        return found

    def first(self, device: torch.device | None = None) -> Batch:
        """Returns the first batch of train, or of val where there is no train."""
        part = "val" if self.train is None else "train"
        return first_batch(getattr(self, part), f"{part} of --data {self.name}", device)

    def example(self, device: torch.device | None = None) -> Any:
        """Returns the inputs of one sample: the first of every tensor that holds the whole batch."""
        batch = self.first(device)
        return one_sample(batch.inputs)


def own_loaders(data: DataSettings) -> OwnLoaders:
    """Calls the function that --data names.

    It returns a pair (train, val), or a dict with some of the keys "train", "val", "loss" and "metric"; each
    loader is one that `pn.compress` takes, and either may be None.

    Raises:
        DataError: The function cannot be called or returns something else, a loader has no length or can be
            read only once, or an option is given that is for pithnet's own data sets.
    """
    assert data.data is not None
    _refuse_options(data)
    content = call_named("--data", data.data, DataError)
    if isinstance(content, tuple) and len(content) == 2:
        content = dict(zip(_KEYS, content, strict=False))
    if not isinstance(content, Mapping):
        parts = f" of {len(content)} parts" if isinstance(content, tuple) else ""
        raise DataError(
            f"--data {data.data} returned a {type(content).__name__}{parts}; return a pair (train, val), or "
            "a dict of train, val, loss and metric"
        )
    for key in content:
        require_known(f"key of what --data {data.data} returned,", str(key), _KEYS, DataError)
    for key in ("loss", "metric"):
        if content.get(key) is not None and not callable(content[key]):
            raise DataError(f"the {key} of --data {data.data} is no function of (outputs, targets)")
    found = OwnLoaders(name=data.data, **content)
    if found.train is None and found.val is None:
        raise DataError(f"--data {data.data} returned neither a train loader nor a val loader; return one")
    for part in ("train", "val"):
        if getattr(found, part) is not None:
            batches_per_epoch(getattr(found, part), f"{part} of --data {data.data}")
    return found


def _refuse_options(data: DataSettings) -> None:
    for field, default in vars(DataSettings()).items():
        if field != "data" and getattr(data, field) != default:
            raise DataError(
                f"--{field.replace('_', '-')} is for the data sets that pithnet reads; --data {data.data} "
                "gives batches as the network takes them, so leave it out"
            )
