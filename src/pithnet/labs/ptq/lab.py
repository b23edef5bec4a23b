"""What both items of `lab ptq` begin with, and item 3: schemes simulated in PyTorch, none of them trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.ptq.comparisons import comparisons, schemes
from pithnet.labs.ptq.schemes import Scheme, Simulated
from pithnet.labs.ptq.settings import Settings
from pithnet.labs.training import accuracy_columns, float_network, rival_columns
from pithnet.labs.workbench import Workbench
from pithnet.learn import evaluate
from pithnet.policies import allocate_bits, sensitivity
from pithnet.surgery import activation_quantizers, fold_into_layers_, relu_zeros, weighted_layers


class PtqLab:
    """The float network `start`, `folded` with BN in its layers, and the `images` that calibrate it."""

    def __init__(self, book: Notebook, bench: Workbench, settings: Settings) -> None:
        self.book, self.bench, self.settings = book, bench, settings
        found = float_network(book, bench, settings.baseline)
        self.start, self.float = found.model.requires_grad_(False), found.evaluation
        self.images = bench.calibration_images(settings.calibration)

    @cached_property
    def folded(self) -> nn.Module:
        """The float network with BN folded into its layers."""
        model = copy.deepcopy(self.start)
        fold_into_layers_(model)
        return model

    def float_row(self) -> None:
        """Measures item 0: the float network."""
        parameters = {"parameters": sum(p.numel() for p in self.start.parameters())}
        columns = accuracy_columns(self.float) | parameters | linear_columns(self.start)
        self.book.row("0", "float", lambda: columns)

    def simulated(self) -> None:
        """Measures item 3: every scheme once, beside its rivals; and the zeros that ReLUs make."""
        self.book.row("3", "the float network's layers", self._layers)
        for scheme in schemes():
            self.book.row("3", scheme.what, partial(self._compared, scheme))

    @cached_property
    def harm(self) -> Mapping[str, tuple[float, ...]]:
        """How much each layer minds each width, asked of training images: their labels are not looked at."""
        found = self.book.load("sensitivity")
        if found is None:
            self.book.progress.note("asking every layer how much it minds few bits")
            seen = self.images[: self.settings.sensitivity]
            scheme = Scheme(4, fit="mse").arguments()
            found = dict(sensitivity(self.folded, seen, widths=self.settings.widths, **scheme))
            self.book.save("sensitivity", found)
        return found

    def _compared(self, scheme: Scheme) -> Row:
        row, correct = self._measured(scheme)
        groups, rivals = [], []
        for group, entrants in comparisons().items():
            mine = [e for e in entrants if e.scheme == scheme]
            groups += [group] if mine else []
            for rival in [e.rival for e in mine if e.rival]:
                theirs = self._measured(rival)[1]
                rivals.append({"group": group} | rival_columns(rival.what, theirs, correct))
        return {"groups": groups, **scheme.columns(), **row, "rivals": rivals}

    def _measured(self, scheme: Scheme) -> tuple[Row, Tensor]:
        """What a scheme's row says of itself, and which test images are right, (n,); measured once."""
        found = self.book.load(scheme.what)
        if found is None:
            bits = self._bits(scheme) if scheme.mixed else None
            simulated = scheme.apply(self.folded, self.images, bits)
            measured = evaluate(simulated.model, self.bench.test_batches())
            row = accuracy_columns(measured, self.float.correct)
            row |= {"average_bits": scheme.bits_per_weight(simulated.model), **_error_columns(simulated)}
            row |= {"layers": [{"name": n, "bits": b} for n, b in bits.items()]} if bits else {}
            found = {"row": row, "correct": measured.correct}
            self.book.save(scheme.what, found)
        return found["row"], found["correct"]

    def _bits(self, scheme: Scheme) -> dict[str, int]:
        budget = None if scheme.weights is None else float(scheme.weights)
        return allocate_bits(self.folded, self.harm, widths=self.settings.widths, average_bits=budget)

    def _layers(self) -> Row:
        """Zeros after each layer's ReLU, and how far its channels' ranges are apart, BN folded."""
        zeros = relu_zeros(self.start, self.images.split(100))
        layers = []
        for name, layer in weighted_layers(self.folded):
            ranges = layer.weight.flatten(1).abs().amax(1)
            spread = float(ranges.max() / ranges.median())
            layers.append({"name": name, "zero_share": zeros.get(name), "spread": spread})
        return {"groups": ["sparsity"], "images": len(self.images), "layers": layers}


def linear_columns(model: nn.Module) -> Row:
    """Counts the weights of convolutions and linear layers, and which share of them is in linear layers."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    total = sum(m.weight.numel() for m in layers)
    linear = sum(m.weight.numel() for m in layers if isinstance(m, nn.Linear))
    return {"weights": total, "linear_share": linear / total}


@torch.no_grad()
def _error_columns(simulated: Simulated) -> Row:
    """What rounding changed, as columns.

    weight_error: squared error over squared weights, the mean of all layers. activation_step: the geometric
    mean of all places, None where activations are float.
    """
    before = dict(weighted_layers(simulated.before))
    errors = []
    for name, layer in weighted_layers(simulated.model):
        exact = before[name].weight
        errors.append(float((layer.weight - exact).square().sum() / exact.square().sum()))
    steps = [math.log(float(q.scale)) for q in activation_quantizers(simulated.model).values()]
    step = math.exp(sum(steps) / len(steps)) if steps else None
    return {"weight_error": sum(errors) / len(errors), "activation_step": step}
