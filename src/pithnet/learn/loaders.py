"""The rules for a loader: it has a length, is not empty, and starts anew for every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pithnet.errors import DataError
from pithnet.learn.batch import Batch, read_batch, tensors
from pithnet.learn.randomness import seeded


def batches_per_epoch(loader: Iterable[Any], what: str) -> int:
    """Returns the loader's length.

    Args:
        loader: Yields batches.
        what: What messages call it.

    Raises:
        DataError: The loader has no length, is empty, or can be read only once.
    """
    if isinstance(loader, Iterator) or not isinstance(loader, Iterable):
        raise DataError(
            f"{what} must have a length and start anew every epoch, as a DataLoader or a list of batches "
            f"does; this is a {type(loader).__name__}"
        )
    try:
        count = len(loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        raise DataError(
            f"{what} has no length, so it is not known how many batches an epoch has; give a list, a "
            f"DataLoader over a data set with a length, or a {type(loader).__name__} with __len__"
        ) from None
    if not count:
        raise DataError(
            f"{what} is empty: its length is 0; is the batch larger than the data set, with drop_last?"
        )
    return count


def first_batch(loader: Iterable[Any], what: str, device: Any = None) -> Batch:
    """Returns the loader's first batch.

    Args:
        loader: Yields batches.
        what: What messages call it.
        device: Where its tensors go; None leaves them.

    Raises:
        DataError: The loader has no length, is empty or can be read only once, or its batch cannot be read.
    """
    batches_per_epoch(loader, what)
    with seeded(0, batches=loader):
        content = next(iter(loader), None)
    if content is None:
        raise DataError(f"{what} gave no batch, though its length is not 0; it must start anew every time")
    try:
        return read_batch(content, device)
    except DataError as e:
        raise DataError(f"{what}: {e}") from None


def smallest_batch(loader: Iterable[Any]) -> int | None:
    """Returns the least number of samples in a batch where that is known without loading, else None."""
    if isinstance(loader, Sequence):
        return min(len(next(tensors(read_batch(b).inputs))) for b in loader)
    size, data = getattr(loader, "batch_size", None), getattr(loader, "dataset", None)
    if not isinstance(size, int) or data is None or not hasattr(data, "__len__"):
        return None
    sampler: Any = getattr(loader, "sampler", None)
    # That of an IterableDataset has no length, and the data set itself decides.
    count = len(sampler if hasattr(sampler, "__len__") else data)
    rest = count % size
    return size if not rest or getattr(loader, "drop_last", False) else rest
