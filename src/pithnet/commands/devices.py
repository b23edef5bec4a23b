"""Where a run computes: on the processor, or on one GPU."""

from __future__ import annotations

import torch

from pithnet.errors import PithError

DEVICES = ("cpu", "cuda")


def get_device(name: str) -> torch.device:
    """Returns the device of that name: "cpu", or "cuda" for the current GPU.

    Raises:
        PithError: The name is another, or it is "cuda" and torch finds no GPU; the message has what torch
            says of it.
    """
    if name not in DEVICES:  # only one GPU: `nearest` would not say so of cuda:1
        raise PithError(f"unknown device {name!r}: choose cpu, or cuda for one GPU")
    if name == "cuda" and not torch.cuda.is_available():
        raise PithError(
            f"--device cuda: {_why_no_gpu()}; leave --device out to compute on the CPU (a run that began on "
            "a GPU is resumed on one)"
        )
    return torch.device(name)


def _why_no_gpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no GPU on this machine"
