"""All cut networks of the tests in ONNX, in float32 and in int8, against torch.

    python benchmarks/bench_cut_onnx.py [--networks concat resnet20 ...]

The toys and the copies of public architectures in tests/surgery/channels and all networks of the zoo, at an
eighth of their channels, lose every second channel that may go. Each small network is exported in both forms.
A row tells the largest difference of the float file's outputs, over the largest output; the relative error of
the int8 file against the float network, and against torch's simulation of int8; and what the int8 file
computes in float. Networks with words for inputs are left out: their calibration needs real words.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.deploy import agreement, export_onnx
from pithnet.surgery import cut_channels, find_channels

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.surgery.channels.architectures import ARCHITECTURES, architecture
from tests.surgery.channels.networks import TOYS, built

_IMAGES = 40
_TOLERANCE = 1e-4  # of float32, over layers


def cut(name: str) -> tuple[nn.Module, Any]:
    """Returns a network of which half the channels that may go are gone, and an example."""
    if name in ARCHITECTURES:
        model, inputs = architecture(name)
    elif name in TOYS:
        model, inputs = built(name)
    else:
        torch.manual_seed(0)
        model, inputs = pn.zoo.build(name, scale=1 / 8).eval(), torch.randn(2, *pn.zoo.input_shape(name))
    found = find_channels(model, inputs)
    removed = {n for group in found.groups if group.frozen is None for n in group.channels[1::2]}
    return cut_channels(model, found, removed).float(), inputs


def row(name: str, folder: Path) -> tuple[str, str, str, str]:
    """Exports a cut network twice; returns what the table says of it."""
    model, inputs = cut(name)
    if not isinstance(inputs, Tensor):
        return "-", "-", "-", "has several inputs"
    if not inputs.is_floating_point():
        return "-", "-", "-", "has words for inputs"
    images = torch.randn(_IMAGES, *inputs.shape[1:], generator=torch.Generator().manual_seed(0))
    try:
        export_onnx(model, tuple(inputs.shape[1:]), folder / "float.onnx")
        with torch.no_grad():
            scale = float(model(images).abs().max())
        found = agreement(folder / "float.onnx", model, images.split(8)).max_difference / scale
        verdict = f"{found:.1e}" + ("" if found < _TOLERANCE else " (!)")
        int8 = pn.export_int8(model, images, folder / "int8.onnx")
    except pn.PithError as e:
        return "-", "-", "-", str(e)[:80]
    rest = ", ".join(int8.float_operators) or "nothing"
    return verdict, f"{int8.agreement.relative_error:.3f}", f"{int8.simulation.relative_error:.3f}", rest


def main() -> None:
    """Prints a row for each network."""
    names = [*TOYS, *ARCHITECTURES, *pn.zoo.ARCHITECTURES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=names)
    options = parser.parse_args()
    widths = (max(map(len, options.networks)), 12, 6, 10)
    head = ("cut network", "float", "int8", "simulation", "in float")
    print("  ".join(f"{cell:<{width}}" for cell, width in zip(head, (*widths, 0), strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            cells = (name, *row(name, Path(folder)))
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, (*widths, 0), strict=True))
            print(line, flush=True)


if __name__ == "__main__":
    main()
