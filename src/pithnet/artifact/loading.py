"""A ready model from a file: of the zoo by name, or the user's own, cut to the file's sizes where need be."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.artifact.budget import MAX_ELEMENTS
from pithnet.artifact.casting import cast
from pithnet.artifact.checks import check_fit, check_numbers, check_widths
from pithnet.artifact.container import Opened, unpack
from pithnet.artifact.decoder import decode_state, folded
from pithnet.artifact.files import naming, read
from pithnet.artifact.layout import Entry, layout_of
from pithnet.artifact.metadata import Metadata
from pithnet.artifact.skeleton import skeleton
from pithnet.artifact.tensor_files import SUFFIXES, read_cut, read_state, untold_of_any, with_ties
from pithnet.errors import ArtifactError, ModelError
from pithnet.surgery import Fit, Untold, fitting, parametrize_, plain_key, uninitialized, unwrapped
from pithnet.zoo import build

_log = logging.getLogger(__name__)


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
        path: The file; or one of `save_state`, named .pt, .pth or .safetensors, with `model`. Nothing in
            either is executed.
        model: None for the zoo architecture that the file must name; or a network whose numbers are replaced
            in place. Its names must be the file's, and what it ties must be equal there. Where the file holds
            fewer channels, as after `shrink`, the network's layers lose the others first, and its parameters
            are new: make optimizers afterwards. Everything is checked before anything in it changes. It may
            be compiled, or in DataParallel, and of another floating-point format: numbers are then converted
            to the model's, with a PithWarning where that rounds any.
        trainable: Gives the parametrized form back, so that any training keeps what the file has: weights of
            few values get a codebook (their levels and zeros stay), other weights with zeros a mask. The
            function is the same to the bit, and encoded untouched it gives the same file. Layers that passes
            refuse (an embedding with max_norm, say) stay plain. A level's gradient is the sum over its
            members: train at a low rate, or with `learn.parameter_groups`.
        max_elements: A file of more numbers is refused, unless `model` has as many.

    Raises:
        ArtifactError: The file is missing or damaged, a tensor does not fit the model, which cannot be cut
            so, or, where it is to be trained, holds NaN or inf. The message names the path, and the record or
            the first such tensor.
    """
    with naming(path):
        if Path(path).suffix in SUFFIXES:
            return _load_state(Path(path), model, trainable)
        opened = unpack(read(path))
        target = _skeleton(opened) if model is None else _plain(unwrapped(model))
        untold = opened.untold if opened.network is None else untold_of_any(opened.network)
        fit = None if model is None else _fitted(target, opened.layout, untold)
        own = _own(target)
        check_fit(opened.layout, own, () if fit is None else fit.shapes)
        most = max_elements if model is None else max(max_elements, sum(e.words for e in opened.layout))
        state = cast(decode_state(opened, most), own)
        check_numbers(target, state, trainable)
    loaded = _zoo_model(target, state, opened) if model is None else _filled(target, state, fit)
    if folded(state, opened):
        _log.info("BatchNorm is folded: statistics are gone, continue training with BatchNorm in eval mode")
    return _finished(loaded if model is None else model, loaded, opened.metadata, trainable)


def _load_state(path: Path, model: nn.Module | None, trainable: bool) -> nn.Module:
    if model is None:
        raise ArtifactError("names no network; build it and pass it: load(path, model=MyNet())")
    target = _plain(unwrapped(model))
    own = _own(target)
    state = with_ties(read_state(path), target)
    layout = layout_of(state)
    fit = None
    widths: Mapping[str, int] = {}
    if any(entry.name in own and own[entry.name].shape != entry.shape for entry in layout):
        found = read_cut(path)
        fit, widths = _fitted(target, layout, found.untold), found.widths
    check_fit(layout, own, () if fit is None else fit.shapes)
    if fit is not None:
        check_widths(target, fit, widths)
    state = cast(state, own)
    check_numbers(target, state, trainable)
    return _finished(model, _filled(target, state, fit), Metadata(), trainable)


def _finished(model: nn.Module, loaded: nn.Module, metadata: Metadata, trainable: bool) -> nn.Module:
    if trainable:
        parametrize_(loaded)
    model.pith = metadata  # type: ignore[assignment]
    return model.eval()


def _own(model: nn.Module) -> dict[str, Tensor]:
    return {plain_key(key): value for key, value in model.state_dict().items()}


def _fitted(model: nn.Module, layout: Sequence[Entry], untold: Untold) -> Fit | None:
    try:
        return fitting(model, {entry.name: entry.shape for entry in layout}, untold)
    except ModelError as e:
        raise ArtifactError(str(e)) from None


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


def _filled(model: nn.Module, state: Mapping[str, Tensor], fit: Fit | None) -> nn.Module:
    """Fills a model that was checked, after it got the file's sizes."""
    if fit is not None:
        fit.apply_()
    model.load_state_dict({key: state[plain_key(key)] for key in model.state_dict()})
    return model
