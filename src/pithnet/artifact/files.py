"""Files on disk: written whole or not at all, read into a ready model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet import zoo
from pithnet.artifact.container import Opened, unpack
from pithnet.artifact.decoder import MAX_ELEMENTS, decode_state, folded
from pithnet.artifact.skeleton import skeleton
from pithnet.atomic import write_atomic
from pithnet.errors import ArtifactError, PithError

_log = logging.getLogger(__name__)


def save(path: str | Path, data: bytes) -> None:
    """Writes `data` so that `path` holds either all of it or what it held before, even through a crash.

    Raises ArtifactError where the file cannot be written.
    """
    try:
        write_atomic(Path(path), data)
    except PithError as e:
        raise ArtifactError(str(e)) from None


def read(path: str | Path) -> bytes:
    """The bytes of a file. Raises ArtifactError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ArtifactError(f"{path} cannot be read: {e.strerror or e}") from None


def load(path: str | Path, model: nn.Module | None = None, max_elements: int = MAX_ELEMENTS) -> nn.Module:
    """The model of a .pith file in eval mode, with what the file says as its attribute `pith` (Metadata).

    Without `model` the file must name a zoo architecture, which is built. With one, its numbers are
    replaced in place; names, shapes and dtypes must be the file's. A file of more than `max_elements`
    numbers is refused, unless `model` has as many. Raises ArtifactError naming the path, and the record
    that is damaged or the first tensor that does not fit.
    """
    data = read(path)
    try:
        opened = unpack(data)
        model = _zoo_model(opened, max_elements) if model is None else _filled(model, opened, max_elements)
    except ArtifactError as e:
        raise ArtifactError(f"{path}: {e}") from e
    model.pith = opened.metadata  # type: ignore[assignment]
    return model.eval()


def _zoo_model(opened: Opened, max_elements: int) -> nn.Module:
    meta = opened.metadata
    if meta.architecture is None:
        raise ArtifactError(
            "names no zoo architecture; build the network and pass it: load(path, model=MyNet())"
        )
    network = opened.network or skeleton(meta.architecture, meta.arguments)
    _check_fit(opened, network.state_dict())
    state = decode_state(opened, max_elements)
    network.load_state_dict(state, assign=True)
    if opened.aliases or any(t.is_meta for t in (*network.parameters(), *network.buffers())):
        # Ties, and buffers outside the state_dict, are made by the real constructor only.
        network = zoo.build(meta.architecture, **meta.arguments)
        network.load_state_dict(state)
    _note_folded(state, opened)
    return network


def _filled(model: nn.Module, opened: Opened, max_elements: int) -> nn.Module:
    own = model.state_dict()
    if any(parametrize.is_parametrized(m) for m in model.modules()):
        raise ArtifactError(
            "the model is parametrized, a file holds plain tensors; load into a model built afresh"
        )
    _check_fit(opened, own)
    state = decode_state(opened, max(max_elements, sum(v.numel() for v in own.values())))
    model.load_state_dict(state)
    _note_folded(state, opened)
    return model


def _check_fit(opened: Opened, own: Mapping[str, Tensor]) -> None:
    for entry in opened.layout:
        if entry.name not in own:
            raise ArtifactError(f"the model has no {entry.name} {list(entry.shape)}, which the file holds")
        mine = own[entry.name]
        if tuple(mine.shape) != entry.shape or mine.dtype != entry.dtype:
            raise ArtifactError(
                f"{entry.name} is {list(entry.shape)} {entry.dtype} in the file and {list(mine.shape)} "
                f"{mine.dtype} in the model; build the model with the file's sizes"
            )
    held = {entry.name for entry in opened.layout}
    for name, value in own.items():
        if name not in held:
            raise ArtifactError(f"the file holds no {name} {list(value.shape)}, which the model has")


def _note_folded(state: Mapping[str, Tensor], opened: Opened) -> None:
    if folded(state, opened):
        _log.info("BatchNorm is folded: statistics are gone, continue training with BatchNorm in eval mode")
