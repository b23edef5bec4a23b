"""The networks that --model names: of the zoo, or what a function of the user's own returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from pithnet import artifact, zoo
from pithnet.commands.callables import call_named
from pithnet.commands.settings import is_own
from pithnet.errors import ModelError, require_known
from pithnet.surgery import unwrapped
from pithnet.zoo import ARCHITECTURES

_MAGIC = b"PITH"
_ADVICE = "A network of your own is package.module:function."


def check_architecture(name: str | None) -> str:
    """Returns the name of a network, which is the zoo's or has the form of a user's own.

    Raises:
        ModelError: The zoo has no such network, or none is named.
    """
    if name is None:
        raise ModelError(
            "which architecture? Give --model NAME, such as --model resnet20, or a function of your own as "
            "--model package.module:function"
        )
    if not is_own(name):
        require_known("architecture", name, ARCHITECTURES, ModelError, _ADVICE)
    return name


def require_checkpoint_name(name: str | None, file: Path) -> str:
    """Returns the name of the network whose checkpoint the file is, checked as by `check_architecture`.

    Raises:
        ModelError: None is named, or the zoo has no such network.
    """
    if name is None:
        raise ModelError(
            f"{file} is a checkpoint, or meant to be one: add --model NAME, such as --model resnet20, or "
            "--model package.module:function"
        )
    return check_architecture(name)


def build_network(name: str, **arguments: Any) -> nn.Module:
    """Returns a network without weights from a file: of the zoo, or as the user's function returns it.

    Args:
        name: A zoo name, or package.module:function.
        **arguments: Arguments of a zoo architecture.

    Raises:
        ModelError: The name is unknown, or the function cannot be called or returns no network.
    """
    if not is_own(name):
        return zoo.build(check_architecture(name), **arguments)
    found = call_named("--model", name, ModelError)
    if not isinstance(found, nn.Module):
        raise ModelError(f"--model {name} returned a {type(found).__name__}, and no torch.nn.Module")
    return unwrapped(found)


def load_checkpoint(name: str, weights: str | Path | None = None, **arguments: Any) -> nn.Module:
    """Returns a network in eval mode, with a checkpoint's weights where one is given.

    Args:
        name: A zoo name, or package.module:function.
        weights: A file of torch.save or of safetensors; None leaves the weights that the network has.
        **arguments: Arguments of a zoo architecture.

    Raises:
        ModelError: As `build_network`, or the checkpoint cannot be read or does not fit.
    """
    if not is_own(name):
        return zoo.load(check_architecture(name), weights, **arguments)
    model = build_network(name)
    if weights is not None:
        zoo.load_state(model, zoo.read_checkpoint(weights), str(weights))
    return model.eval()


def is_artifact(file: Path) -> bool:
    """Tells whether the file is named or begins as a .pith.

    Raises:
        ModelError: The file cannot be read.
    """
    if file.suffix == ".pith":
        return True
    try:
        with open(file, "rb") as f:
            return f.read(len(_MAGIC)) == _MAGIC
    except OSError as e:
        raise ModelError(f"{file} cannot be read: {e.strerror}") from None


def load_artifact(file: Path, model: str | None) -> nn.Module:
    """Returns the network of a .pith.

    Args:
        file: The file.
        model: The architecture where the file names none, or package.module:function.

    Raises:
        ArtifactError: As `artifact.load`.
        ModelError: As `build_network`.
    """
    named = artifact.inspect_file(file).architecture
    if model is None and named is None:
        raise ModelError(
            f"{file} names no network of the zoo: add --model package.module:function, the function that "
            "returned the network it was made from"
        )
    if model is None or named == model:
        return artifact.load(file)
    return artifact.load(file, build_network(model))
