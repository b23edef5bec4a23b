"""An input of a network, as --example gives it."""

from __future__ import annotations

import torch
from torch import Tensor

from pithnet.errors import DataError


def parse_example(text: str) -> Tensor:
    """Returns a tensor of zeros, float32, with the lengths that a text like "1x3x32x32" says.

    Raises:
        DataError: The text is not of that form.
    """
    lengths = text.split("x")
    if len(lengths) < 2 or not all(n.isdecimal() and int(n) > 0 for n in lengths):
        raise DataError(
            f"--example {text}: give the lengths of one input, batch first, such as 1x3x32x32; where the "
            "network takes several tensors or tokens, give --data instead"
        )
    return torch.zeros(*map(int, lengths))
