"""The six files of the Deep Compression course assignments, under their names, readable without pickle.

| file | content |
|---|---|
| net_before_pruning.pt | state_dict of the float model: plain tensors, `torch.load(..., weights_only=True)` |
| net_after_pruning.pt | state_dict after the last pruning step and its training; pruned weights are 0 |
| net_after_quantization.pt | state_dict at the end: each layer has zeros and the values of its codebook row |
| codebook_resnet20.npy | float32 (layers, most levels): a row per shared layer, ascending, then NaN |
| huffman_encoding.npy | records (layer, name, symbol, code, length): each symbol's code as text of 0 and 1 |
| huffman_freq.npy | records (layer, name, symbol, count): how many weights of the layer have each symbol |

`layer` is a row of the codebook, `name` the module's name, `symbol` a column of that row: the weights with
that value. Zeros are no symbols: their places are coded apart. A layer's only symbol has the empty code.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pithnet.artifact import plain_state
from pithnet.atomic import write_atomic
from pithnet.errors import RecipeError
from pithnet.labs.deep_compression.entropy_coding import LayerCode, code_rows, layer_codes
from pithnet.surgery import Codebook, parametrization, weighted_layers

BEFORE = "net_before_pruning.pt"
PRUNED = "net_after_pruning.pt"
SHARED = "net_after_quantization.pt"
CODEBOOK = "codebook_resnet20.npy"
ENCODING = "huffman_encoding.npy"
FREQUENCIES = "huffman_freq.npy"
SOURCE_FILES = (BEFORE, PRUNED, SHARED, CODEBOOK, ENCODING, FREQUENCIES)

ENCODING_DTYPE = np.dtype(
    [("layer", "<i4"), ("name", "<U80"), ("symbol", "<i4"), ("code", "<U16"), ("length", "u1")]
)
FREQUENCY_DTYPE = np.dtype([("layer", "<i4"), ("name", "<U80"), ("symbol", "<i4"), ("count", "<i8")])


def write_source_files(folder: Path, before: nn.Module, pruned: nn.Module, shared: nn.Module) -> list[Path]:
    """Writes the six files into `folder` (made where missing) and returns their paths, as in SOURCE_FILES.

    The models may be parametrized; `shared` must be, by codebooks.

    Raises:
        RecipeError: No layer of `shared` has a codebook.
        PithError: A file cannot be written.
    """
    write_network(folder / BEFORE, before)
    write_network(folder / PRUNED, pruned)
    write_shared(folder, shared)
    return [folder / name for name in SOURCE_FILES]


def write_network(path: Path, model: nn.Module) -> None:
    """Writes the model's plain state_dict, effective weights in float32, by torch.save."""
    buffer = io.BytesIO()
    # A state_dict's tensors may be views of one storage, which torch.save would write whole.
    torch.save({name: value.detach().clone() for name, value in plain_state(model).items()}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def write_shared(folder: Path, model: nn.Module) -> None:
    """Writes net_after_quantization.pt, codebooks and Huffman codes of a model with codebooks."""
    codes = shared_layers(model)
    write_network(folder / SHARED, model)
    codebook = np.full((len(codes), max(len(code.values) for code in codes)), np.nan, np.float32)
    encoding, frequencies = [], []
    for layer, code in enumerate(codes):
        codebook[layer, : len(code.values)] = code.values
        for row in code_rows(code):
            encoding.append((layer, code.name, row["symbol"], row["code"], row["length"]))
            frequencies.append((layer, code.name, row["symbol"], row["count"]))
    _write_array(folder / CODEBOOK, codebook)
    _write_array(folder / ENCODING, np.array(encoding, ENCODING_DTYPE))
    _write_array(folder / FREQUENCIES, np.array(frequencies, FREQUENCY_DTYPE))


def shared_layers(model: nn.Module) -> list[LayerCode]:
    """Returns the values and counts of every layer with a codebook.

    Raises:
        RecipeError: No layer has one.
    """
    shared = {name for name, layer in weighted_layers(model) if parametrization(layer, Codebook) is not None}
    if not shared:
        raise RecipeError(
            "the source's files need shared weights; use a recipe with a share step, such as deep-compression"
        )
    return [code for code in layer_codes(model) if code.name in shared]


def _write_array(path: Path, array: NDArray[np.generic]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
