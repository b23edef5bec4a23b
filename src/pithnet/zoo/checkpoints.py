"""Checkpoints that anyone may have written: they are read as tensors only, never executed."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.zoo.registry import build
from pithnet.zoo.width_tables import read_widths

# Where public training scripts put the weights inside the saved dictionary.
_NESTED = ("state_dict", "model_state_dict", "model", "net")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name.

    float16 and bfloat16 are widened to float32, and a `module.` prefix is removed. A file that torch.save
    wrote is read with weights_only=True: a pickle that holds anything but tensors and plain containers is
    refused before any of it runs. One that is named .safetensors holds tensors and no code.

    Args:
        path: The file.

    Raises:
        ModelError: The file is missing or not a checkpoint, or holds no tensors, NaN or inf; the message
            names it.
    """
    state = {
        k: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v
        for k, v in read_tensors(path).items()
    }
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{path}: {key} holds NaN or inf; train or export the checkpoint again")
    return state


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name, as they are; a `module.` prefix is removed.

    Args:
        path: The file, which is read as `read_checkpoint` reads it.

    Raises:
        ModelError: The file is missing or not a checkpoint, or holds no tensors; the message names it.
    """
    return _strip(_tensors(_read(Path(path)), path))


def _read(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such checkpoint") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder; give the checkpoint file in it") from None
    except OSError as e:
        raise ModelError(f"{path} cannot be read: {e.strerror or e}") from None
    if data.startswith(b"PITH"):
        raise ModelError(f"{path} is a .pith file; pithnet unpack {path} --to CHECKPOINT makes it one")
    return _safetensors(data, path) if path.suffix == ".safetensors" else _torch_saved(data, path)


def _safetensors(data: bytes, path: Path) -> dict[str, Tensor]:
    # Only here: whoever builds a network need not wait for it.
    try:
        from safetensors.torch import load as read
    except ImportError:
        raise ModelError(f"{path} needs safetensors: pip install safetensors") from None
    try:
        found: dict[str, Tensor] = read(data)
    except Exception as e:  # its own error for a header that is damaged, others for what it does not know
        first = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ModelError(f"{path} is not a file of safetensors, or it is damaged: {first}") from None
    return found


def _torch_saved(data: bytes, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # About pickle protocols: of no use to someone whose file is refused or read in the next line.
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path} holds more than tensors and was not loaded (running a pickle can run any code); "
            "save model.state_dict() and use that file"
        ) from None
    except Exception:  # torch raises many kinds on what is no checkpoint
        raise ModelError(f"{path} is not what torch.save writes, or it is damaged") from None


def _tensors(content: Any, path: str | Path) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state_dict")
    state = {str(k): v.detach() for k, v in content.items() if isinstance(v, Tensor)}
    if not state:
        raise ModelError(f"{path} holds no tensors: not a state_dict")
    return state


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(k.startswith("module.") for k in state):
        return {k.removeprefix("module."): v for k, v in state.items()}
    return state


def has_module_prefix(path: str | Path) -> bool:
    """Tells whether the keys carry DataParallel's `module.` prefix, as public ResNet checkpoints' do."""
    return all(k.startswith("module.") for k in _tensors(_read(Path(path)), path))


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copies a state into a model, in place.

    `num_batches_tracked` may be missing, and so may all but one name of a tensor that the model holds under
    several: safetensors keeps it once.

    Args:
        model: The network to be filled.
        state: Its tensors by name.
        source: What messages call the state.

    Raises:
        ModelError: A key is missing, unexpected or of another shape; the message names the first.
    """
    own = model.state_dict()
    given = {_place(value) for key, value in own.items() if key in state}
    for key, value in own.items():
        if key not in state:
            if key.endswith("num_batches_tracked") or (value.numel() and _place(value) in given):
                continue
            raise ModelError(
                f"{source} does not fit this architecture: {key} {tuple(value.shape)} is missing"
            )
        if state[key].shape != value.shape:
            raise ModelError(
                f"{source} does not fit this architecture: {key} is {tuple(state[key].shape)}, "
                f"the architecture has {tuple(value.shape)}"
            )
    extra = next((k for k in state if k not in own), None)
    if extra is not None:
        raise ModelError(
            f"{source} does not fit this architecture: it has {extra} {tuple(state[extra].shape)}, "
            "the architecture does not"
        )
    model.load_state_dict(dict(state), strict=False)


def _place(value: Tensor) -> tuple[int, torch.Size]:
    """Returns what two names of one tensor have in common."""
    return value.data_ptr(), value.shape


def load(name: str, weights: str | Path | None = None, **arguments: Any) -> nn.Module:
    """Returns a network of the zoo in eval mode.

    Args:
        name: The architecture.
        weights: A checkpoint, or None for fresh weights. Where it has other shapes and x.json stands beside
            x.pt, as `save_state` writes it, the network gets the widths of that.
        **arguments: Arguments of the architecture. Where they do not say how many `classes`, there are as
            many as the checkpoint has outputs.

    Raises:
        ModelError: The name is unknown, or the checkpoint cannot be read or does not fit.
    """
    model = build(name, **arguments)
    if weights is not None:
        state = read_checkpoint(weights)
        if "classes" not in arguments:
            own, found = outputs(model), _outputs_of(model, state)
            if found not in (None, own):
                arguments["classes"] = found
                model = build(name, **arguments)
        beside = Path(weights).with_suffix(".json")
        if "widths" not in arguments and beside.exists() and _has_other_shapes(model, state):
            model = build(name, **arguments, widths=read_widths(beside))
        load_state(model, state, str(weights))
    return model.eval()


def _has_other_shapes(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    return any(key in state and state[key].shape != value.shape for key, value in model.state_dict().items())


def outputs(model: nn.Module) -> int:
    """Returns how many numbers a network of the zoo gives for an image: the classes it tells apart."""
    return _last_linear(model)[1].out_features


def _outputs_of(model: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """Returns the rows of the last linear layer in `state`; None where it has no such matrix."""
    weight = state.get(f"{_last_linear(model)[0]}.weight")
    return len(weight) if weight is not None and weight.dim() == 2 else None


def _last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    return [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
