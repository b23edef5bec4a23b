"""What a network takes: bytes of its tensors, and the time of a batch."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from pithnet.deploy import Contender, OnnxSession, export_onnx, time_in_turn
from pithnet.labs.notebook import Notebook, Row
from pithnet.surgery import release_all

Shape = tuple[int, ...]


def memory_bytes(model: nn.Module) -> int:
    """Returns the bytes of the parameters and buffers of the plain network: zeros take what others take."""
    plain = copy.deepcopy(model)
    release_all(plain)
    return sum(t.numel() * t.element_size() for t in plain.state_dict().values())


def times(
    book: Notebook,
    key: str,
    networks: Mapping[str, tuple[Callable[[], nn.Module], Shape]],
    batches: Sequence[int],
    seconds: float,
) -> dict[str, Row]:
    """Times networks in ONNX Runtime on one thread of the CPU, all in turn, and keeps the times under `key`.

    Args:
        book: The notebook; times that it keeps for the same networks are not measured again.
        key: What the notebook calls them.
        networks: By name what makes each network, and the shape (C, H, W) of what it takes.
        batches: The sizes of a batch.
        seconds: About how long to measure for each size.

    Returns:
        A row for each network: `ms`, the median time of the first size of batch in milliseconds, with
        `ms_low` and `ms_high`, its middle half; for every other size n, `ms_n`.
    """
    found = book.load(key)
    if found is None or set(found["rows"]) != set(networks):
        book.progress.note(f"timing {len(networks)} networks in turn")
        with tempfile.TemporaryDirectory() as folder:
            contenders = [
                _contender(make(), shape, Path(folder) / f"{number}.onnx", name)
                for number, (name, (make, shape)) in enumerate(networks.items())
            ]
            found = {"rows": _rows(contenders, batches, seconds)}
        book.save(key, found)
    rows: dict[str, Row] = found["rows"]
    return rows


def _contender(model: nn.Module, shape: Shape, path: Path, name: str) -> Contender:
    export_onnx(copy.deepcopy(model).cpu(), shape, path)
    return Contender(name, shape, lambda threads: OnnxSession(path, threads))


def _rows(contenders: Sequence[Contender], batches: Sequence[int], seconds: float) -> dict[str, Row]:
    rows: dict[str, Row] = {contender.name: {} for contender in contenders}
    for number, batch in enumerate(batches):
        timings = time_in_turn(contenders, batch, 1, seconds)
        for contender, timing in zip(contenders, timings, strict=True):
            row = rows[contender.name]
            if number == 0:
                row |= {"ms": timing.median, "ms_low": timing.low, "ms_high": timing.high}
            else:
                row[f"ms_{batch}"] = timing.median
    return rows
