"""Plain tensors as files of torch.save or safetensors, with a JSON file beside them that tells the widths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pithnet.artifact.layout import check_state
from pithnet.artifact.state import plain_state
from pithnet.atomic import staged, write_atomic
from pithnet.errors import ArtifactError, ModelError, PithError
from pithnet.surgery import Untold, layer_widths, plain_key, untold_of, unwrapped
from pithnet.zoo import ZooNetwork, read_json_object, read_tensors, shortcut_sizes, widths_in, widths_of

SUFFIXES = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True)
class Cut:
    """What the JSON file beside a file of tensors says of how the network was cut.

    Attributes:
        widths: How many outputs layers have, by name.
        untold: What the shapes of tensors do not tell.
    """

    widths: Mapping[str, int]
    untold: Untold


def save_state(model: nn.Module, path: str | Path) -> None:
    """Writes the tensors of a network as a checkpoint that every tool reads, and its widths beside it.

    Beside x.pt or x.safetensors stands x.json: {"widths": {layer: outputs}}, with what else it takes to cut a
    full-size network to these tensors. `load` reads both; nothing in them is executed.

    Args:
        model: The network; of parametrized layers the effective tensors are written, under plain names.
        path: The file, named .pt, .pth or .safetensors. It is replaced where it exists, and so is the JSON
            file beside it.

    Raises:
        ArtifactError: The path has another ending, a file cannot be written, or the network holds what is no
            dense real tensor.
    """
    path, model = Path(path), unwrapped(model)
    if path.suffix not in SUFFIXES:
        raise ArtifactError(f"{path}: name the file .pt or .safetensors, or write a .pith with pn.save")
    state = {key: value.detach().cpu() for key, value in plain_state(model).items()}
    check_state(state)
    try:
        with staged(path) as part:
            _write(state, part)
        save_widths(model, path)
    except PithError as e:
        raise ArtifactError(str(e)) from None
    except RuntimeError as e:  # torch's own writer does not say what the system told it
        raise ArtifactError(f"{path} cannot be written: {str(e).splitlines()[0]}") from None


def save_widths(model: nn.Module, path: Path) -> None:
    """Writes the JSON file that stands beside a file of tensors, as `save_state` does.

    Args:
        model: The network.
        path: The file of tensors.

    Raises:
        PithError: The file cannot be written.
    """
    write_atomic(path.with_suffix(".json"), (json.dumps(_content(model), indent=1) + "\n").encode())


def _write(state: Mapping[str, Tensor], part: Path) -> None:
    if part.suffix != ".safetensors":
        torch.save(dict(state), part)
        return
    try:
        from safetensors.torch import save
    except ImportError:
        raise ArtifactError(f"{part.name} needs safetensors: pip install safetensors") from None
    once: dict[tuple[int, torch.Size], str] = {}
    for key, value in state.items():
        once.setdefault((value.data_ptr() if value.numel() else id(value), value.shape), key)
    part.write_bytes(save({key: state[key].contiguous() for key in once.values()}))


def _content(model: nn.Module) -> dict[str, object]:
    widths = layer_widths(model) | (widths_of(model) if isinstance(model, ZooNetwork) else {})
    sizes, written, given = untold_of_any(model).to_plain()
    entries = {"widths": widths, "sizes": sizes, "forward": written, "arguments": given}
    return {key: value for key, value in entries.items() if value or key == "widths"}


def untold_of_any(model: nn.Module) -> Untold:
    """Returns what shapes do not tell of a network of the zoo, of whatever widths, or of one that was cut.

    Args:
        model: The network.
    """
    untold = untold_of(model)
    zeros = shortcut_sizes(model) if isinstance(model, ZooNetwork) else {}
    return Untold({**untold.sizes, **zeros}, untold.written, untold.given)


def read_state(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a file of torch.save or safetensors by name.

    Raises:
        ArtifactError: The file is missing or damaged, or holds more than tensors.
    """
    try:
        return read_tensors(path)
    except ModelError as e:
        raise ArtifactError(str(e)) from None


def read_cut(path: Path) -> Cut:
    """Returns what the JSON file beside a file of tensors says.

    Args:
        path: The file of tensors.

    Raises:
        ArtifactError: There is none, or it is not as `save_state` writes it.
    """
    beside = path.with_suffix(".json")
    if not beside.exists():
        raise ArtifactError(
            f"it holds fewer channels than the model, and {beside.name} is missing, which pn.save_state "
            "writes beside it and which says how the network was cut; build the model with the file's sizes"
        )
    try:
        content = read_json_object(beside)
        plain = [content.get("sizes", {}), content.get("forward", []), content.get("arguments", {})]
        return Cut(widths_in(content, beside), Untold.from_plain(plain))
    except ModelError as e:
        raise ArtifactError(str(e)) from None


def with_ties(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Returns a state with all names of tensors that the model holds under several.

    Safetensors keep one of them. Batch counters may be missing as well, and are 0.

    Args:
        state: The tensors of a file.
        model: The network that they are for.
    """
    found, held = dict(state), dict[int, str]()
    own = model.state_dict(keep_vars=True)
    for key, value in own.items():
        if (name := plain_key(key)) in state and isinstance(value, Tensor):
            held.setdefault(id(value), name)
    for key, value in own.items():
        name = plain_key(key)
        if name not in found and id(value) in held:
            found[name] = state[held[id(value)]]
        elif name not in found and name.endswith("num_batches_tracked"):
            found[name] = torch.zeros_like(value)
    return found
