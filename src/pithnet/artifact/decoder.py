"""The numbers of a .pith file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pithnet.artifact.budget import MAX_ELEMENTS, Budget
from pithnet.artifact.container import Opened, unpack
from pithnet.artifact.layout import Record, implied, norm_prefixes
from pithnet.artifact.metadata import Metadata
from pithnet.artifact.record import Decoded, decode_record
from pithnet.coding import CodingError
from pithnet.errors import ArtifactError
from pithnet.heartbeat import working

_ENTRY_WORK, _HEADER_WORK = 3000, 20  # of an entry of the layout, and of a byte before the first record


def decode(data: bytes, max_elements: int = MAX_ELEMENTS) -> tuple[dict[str, Tensor], Metadata]:
    """Returns the plain state_dict of a file, and what the file says.

    The state_dict has the model's names and shapes, BatchNorm buffers too. Tensors that were tied are one
    tensor under several names.

    Args:
        data: The file.
        max_elements: The most numbers in all.

    Raises:
        ArtifactError: The file is damaged, truncated or hostile, or has more than `max_elements` numbers; the
            message names the header or the record.
    """
    opened = unpack(data)
    return decode_state(opened, max_elements), opened.metadata


def decode_state(opened: Opened, max_elements: int = MAX_ELEMENTS) -> dict[str, Tensor]:
    """Returns the state_dict of an opened file, in the order of its layout.

    Args:
        opened: The file.
        max_elements: The most numbers in all.

    Raises:
        ArtifactError: A record is wrong, or there are too many numbers.
    """
    found: dict[str, Tensor] = {}
    with working("decode", sum(r.size for r in opened.records), "numbers") as step:
        for record, decoded in decode_records(opened, max_elements):
            found.update(zip((e.name for e in record.entries), decoded.split(record), strict=True))
            step.advance(record.size)
    for name in implied(opened.layout):
        found[name] = torch.tensor(opened.counters.get(name, 0))
    return {e.name: found[opened.aliases.get(e.name, e.name)] for e in opened.layout}


def decode_records(
    opened: Opened, max_elements: int = MAX_ELEMENTS, budget: Budget | None = None
) -> Iterator[tuple[Record, Decoded]]:
    """Yields each record with its values.

    Args:
        opened: The file.
        max_elements: The most numbers in all; a number of more than four bytes counts as several.
        budget: Counts the work, and may refuse it; None for what a file of this size may take.

    Raises:
        ArtifactError: A record is wrong (the message names it), or there are too many numbers, or the file
            takes too much work.
    """
    budget = budget or Budget(opened.size, max_elements)
    declared = sum(e.words for e in opened.layout)
    if declared > max_elements:
        raise ArtifactError(f"header: declares {declared} numbers, at most {max_elements} are allowed here")
    try:
        budget.spend(_ENTRY_WORK * len(opened.layout) + _HEADER_WORK * opened.header_bytes)
    except ArtifactError as e:
        raise ArtifactError(f"header: {e}") from None
    for index, (record, body) in enumerate(zip(opened.records, opened.bodies, strict=True)):
        try:
            yield record, decode_record(body, record, budget.spend)
        except (ArtifactError, CodingError) as e:
            raise ArtifactError(f"record {index} ({record.label}): {e}") from e
        except MemoryError:
            raise ArtifactError(
                f"record {index} ({record.label}): {record.size} numbers do not fit in memory"
            ) from None


def folded(state: Mapping[str, Tensor], opened: Opened) -> bool | None:
    """Tells whether the BatchNorm layers lost their statistics (mean 0, one variance); None without any.

    Args:
        state: The file's state_dict.
        opened: The file.
    """
    prefixes = norm_prefixes(opened.layout)
    if not prefixes:
        return None
    means = torch.cat([state[p + "running_mean"] for p in prefixes])
    variances = torch.cat([state[p + "running_var"] for p in prefixes])
    return not bool(means.any()) and bool((variances == variances[:1]).all())
