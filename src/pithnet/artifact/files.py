"""Files on disk: written whole or not at all, read into a ready model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.artifact.budget import MAX_ELEMENTS
from pithnet.artifact.casting import cast
from pithnet.artifact.container import Opened, unpack
from pithnet.artifact.decoder import decode, decode_state, folded
from pithnet.artifact.inspection import Inspection, inspect
from pithnet.artifact.skeleton import skeleton
from pithnet.atomic import write_atomic
from pithnet.errors import ArtifactError, PithError
from pithnet.surgery import conflicting_tie, parametrize_, plain_key, uninitialized, unwrapped
from pithnet.zoo import build

_log = logging.getLogger(__name__)


def save(path: str | Path, data: bytes) -> None:
    """Writes a file so that `path` holds either all of it or what it held before, even through a crash.

    Args:
        path: the file.
        data: its bytes.

    Raises:
        ArtifactError: The file cannot be written.
    """
    try:
        write_atomic(Path(path), data)
    except PithError as e:
        raise ArtifactError(str(e)) from None


def read(path: str | Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
        ArtifactError: The file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ArtifactError(f"cannot be read: {e.strerror or e}") from None


def inspect_file(path: str | Path) -> Inspection:
    """Returns the account of a file.

    Raises:
        ArtifactError: The file is missing or damaged; the message names the path.
    """
    with _naming(path):
        return inspect(read(path))


def decode_file(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a file by name.

    Raises:
        ArtifactError: The file is missing or damaged; the message names the path.
    """
    with _naming(path):
        return decode(read(path))[0]


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Lets the ArtifactErrors of the block begin with the path."""
    try:
        yield
    except ArtifactError as e:
        raise ArtifactError(f"{path}: {e}") from e


def load(
    path: str | Path,
    model: nn.Module | None = None,
    *,
    trainable: bool = False,
    max_elements: int = MAX_ELEMENTS,
) -> nn.Module:
    """Returns the model of a .pith file in eval mode, with what the file says as its attribute `pith`.

    Where BN is folded in the file its statistics are gone: fine-tune with the BN layers in eval mode.

    Args:
        path: the file.
        model: None for the zoo architecture that the file must name; or a network whose numbers are replaced
            in place. Its names and shapes must be the file's, and what it ties must be equal there. It may be
            compiled, or in DataParallel, and of another floating-point format: numbers are then converted to
            the model's, with a PithWarning where that rounds any.
        trainable: gives the parametrized form back, so that any training keeps what the file has: weights of
            few values get a codebook (their levels and zeros stay), other weights with zeros a mask. The
            function is the same to the bit, and encoded untouched it gives the same file. Layers that passes
            refuse (an embedding with max_norm, say) stay plain. A level's gradient is the sum over its
            members: train at a low rate, or with `learn.parameter_groups`.
        max_elements: a file of more numbers is refused, unless `model` has as many.

    Raises:
        ArtifactError: The file is missing or damaged, a tensor does not fit the model, or, where it is to be
            trained, holds NaN or inf. The message names the path, and the record or the first such tensor.
    """
    with _naming(path):
        opened = unpack(read(path))
        target = _skeleton(opened) if model is None else _plain(unwrapped(model))
        own = {plain_key(key): value for key, value in target.state_dict().items()}
        _check_fit(opened, own)
        most = max_elements if model is None else max(max_elements, sum(e.words for e in opened.layout))
        state = cast(decode_state(opened, most), own)
        _check_numbers(target, state, trainable)
    loaded = _zoo_model(target, state, opened) if model is None else _filled(target, state)
    if folded(state, opened):
        _log.info("BatchNorm is folded: statistics are gone, continue training with BatchNorm in eval mode")
    if trainable:
        parametrize_(loaded)
    result = loaded if model is None else model
    result.pith = opened.metadata  # type: ignore[assignment]
    return result.eval()


def _skeleton(opened: Opened) -> nn.Module:
    meta = opened.metadata
    if meta.architecture is None:
        raise ArtifactError(
            "names no zoo architecture; build the network and pass it: load(path, model=MyNet())"
        )
    return opened.network or skeleton(meta.architecture, meta.arguments)


def _plain(model: nn.Module) -> nn.Module:
    """Returns the model that is to be filled, and refuses one that has not plain tensors alone."""
    lazy = uninitialized(model)
    if lazy:
        raise ArtifactError(f"the model's {lazy} has no weights yet; run one batch through the model first")
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            tensor = next(iter(module.parametrizations))
            raise ArtifactError(
                f"the model is parametrized ({f'{name}.' if name else ''}{tensor}), a file holds plain "
                "tensors; build it afresh, or take that off with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )
    return model


def _zoo_model(network: nn.Module, state: Mapping[str, Tensor], opened: Opened) -> nn.Module:
    network.load_state_dict(state, assign=True)
    if opened.aliases or any(t.is_meta for t in (*network.parameters(), *network.buffers())):
        # Ties, and buffers outside the state_dict, are made by the real constructor only.
        meta = opened.metadata
        assert meta.architecture is not None
        arguments: dict[str, Any] = dict(meta.arguments)
        network = build(meta.architecture, **arguments)
        network.load_state_dict(state)
    return network


def _filled(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    model.load_state_dict({key: state[plain_key(key)] for key in model.state_dict()})
    return model


def _check_fit(opened: Opened, own: Mapping[str, Tensor]) -> None:
    for entry in opened.layout:
        if entry.name not in own:
            raise ArtifactError(f"the model has no {entry.name} {list(entry.shape)}, which the file holds")
        mine = own[entry.name]
        if not isinstance(mine, Tensor):
            raise ArtifactError(
                f"{entry.name} is a tensor in the file and a {type(mine).__name__} in the model"
            )
        castable = mine.dtype.is_floating_point and entry.dtype.is_floating_point
        if tuple(mine.shape) != entry.shape or (mine.dtype != entry.dtype and not castable):
            raise ArtifactError(
                f"{entry.name} is {list(entry.shape)} {entry.dtype} in the file and {list(mine.shape)} "
                f"{mine.dtype} in the model; build the model with the file's sizes"
            )
    held = {entry.name for entry in opened.layout}
    for name, value in own.items():
        if name not in held:
            shape = f" {list(value.shape)}" if isinstance(value, Tensor) else ""
            raise ArtifactError(f"the file holds no {name}{shape}, which the model has")


def _check_numbers(model: nn.Module, state: Mapping[str, Tensor], trainable: bool) -> None:
    conflict = conflicting_tie(model, state)
    if conflict:
        raise ArtifactError(
            "the model ties {} to {}, the file holds different numbers for them; load it into a network "
            "without that tie".format(*conflict)
        )
    for name, value in state.items() if trainable else ():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ArtifactError(
                f"{name} holds NaN or inf and cannot be trained; load it without trainable=True"
            )
