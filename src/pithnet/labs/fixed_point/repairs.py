"""Item 7 of `lab fixed-point`: without labels and without training, repair by repair."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.labs.fixed_point.lab import FixedPointLab, size_columns
from pithnet.labs.fixed_point.schemes import stages
from pithnet.labs.fixed_point.settings import Settings
from pithnet.labs.notebook import Row
from pithnet.labs.training import accuracy_columns, rival_columns
from pithnet.learn import evaluate
from pithnet.passes import (
    correct_biases,
    equalize,
    match_norms,
    quantize,
    quantize_without_labels,
    reconstruct,
)
from pithnet.policies import divergence
from pithnet.surgery import finalize, fold_into_layers_, weighted_layers


@dataclass(frozen=True)
class Repair:
    """What is done to the float network `start`; each way gives a new network.

    `bits` are those of the layers but for `skip`. `images` calibrate, (n, C, H, W), without labels.
    """

    start: nn.Module
    bits: int
    skip: tuple[str, ...]
    images: Tensor
    settings: Settings

    def rounded(self, fit: str = "mse") -> nn.Module:
        """Rounds alone."""
        model = copy.deepcopy(self.start)
        quantize(model, self.bits, quantizer="dynamic", fit=fit, skip=self.skip)
        return model

    def matched(self) -> nn.Module:
        """Rounds, and matches the statistics of BN."""
        model = self.rounded()
        match_norms(model, self.start, self.images)
        return model

    def corrected(self) -> nn.Module:
        """Rounds, matches BN, and corrects biases."""
        model = self.matched()
        correct_biases(model, self.start, self.images)
        return model

    def equalized(self) -> nn.Module:
        """Folds BN, equalises the layers, rounds, and corrects biases."""
        model = copy.deepcopy(self.start)
        fold_into_layers_(model)
        equalize(model)
        quantize(model, self.bits, quantizer="dynamic", fit="mse", skip=self.skip)
        correct_biases(model, self.start, self.images)
        return model

    def layer_by_layer(self, method: str) -> nn.Module:
        """Reconstructs layer by layer between the repairs of BN and biases."""
        model = self.matched()
        reconstruct(model, self.images, method, steps=self.settings.layer_steps)
        match_norms(model, self.start, self.images)
        correct_biases(model, self.start, self.images)
        return model

    def block_by_block(self) -> nn.Module:
        """Quantizes as `quantize_without_labels` does, block by block."""
        model = copy.deepcopy(self.start)
        steps = self.settings.block_steps
        quantize_without_labels(model, self.bits, self.images, skip=self.skip, steps=steps)
        return model


PLAIN, MATCHED, CHOSEN = "nearest level", "norms", "norms, blocks, biases"
WAYS: dict[str, Callable[[Repair], nn.Module]] = {
    PLAIN: partial(Repair.rounded, fit="range"),
    "least squares": Repair.rounded,
    "folded, equalised, biases": Repair.equalized,
    MATCHED: Repair.matched,
    "norms, biases": Repair.corrected,
    "norms, GPTQ, biases": partial(Repair.layer_by_layer, method="gptq"),
    "norms, AdaRound, biases": partial(Repair.layer_by_layer, method="adaround"),
    CHOSEN: Repair.block_by_block,
}
_IN_BLOCKS = (PLAIN, MATCHED, CHOSEN)


def repaired(lab: FixedPointLab) -> None:
    """Measures item 7: every repair at the bits of item 2 in all layers, the main ones in blocks alone.

    Each is measured as the file would have it. How far answers are from the float network's is taken on
    images that no repair has seen. No labels are used.
    """
    images, parts = lab.bench.calibration_images(lab.settings.calibration), stages(lab.start)
    kinds = (
        ("all", "all layers", (), tuple(WAYS)),
        ("blocks", "blocks", (parts.first, parts.last), _IN_BLOCKS),
    )
    for bits in lab.settings.trained:
        for where, layers, skip, ways in kinds:
            repair = Repair(lab.start, bits, skip, images, lab.settings)
            plain = cache(partial(_plainly_right, lab, repair))
            for way in ways:
                rival = None if way == PLAIN else (f"{PLAIN}, {bits} bits, {layers}", plain)
                measure = partial(_repaired, lab, repair, way, where, rival)
                lab.book.row("7", f"{way}, {bits} bits, {layers}", measure)


def _plainly_right(lab: FixedPointLab, repair: Repair) -> Tensor:
    """Which test images the plain rounding has right, (n,)."""
    return evaluate(finalize(WAYS[PLAIN](repair)), lab.bench.test_batches()).correct


def _repaired(
    lab: FixedPointLab,
    repair: Repair,
    way: str,
    where: str,
    rival: tuple[str, Callable[[], Tensor]] | None,
) -> Row:
    began = time.perf_counter()
    model = WAYS[way](repair)
    seconds = time.perf_counter() - began
    final = finalize(model)
    measured = evaluate(final, lab.bench.test_batches())
    row: Row = {"levels": way, "bits": repair.bits, "where": where, "seconds": round(seconds, 1)}
    row |= {
        "calibration": len(repair.images),
        "most_levels": most_levels(final, repair.skip, repair.bits),
        "divergence": divergence(final, lab.start, lab.bench.choice_batches()),
    }
    row |= accuracy_columns(measured, lab.float.correct) | size_columns(model)
    return row | ({} if rival is None else rival_columns(rival[0], rival[1](), measured.correct))


def most_levels(model: nn.Module, skip: tuple[str, ...], bits: int) -> int:
    """Returns the most distinct values in any channel of the layers that are not skipped.

    Raises:
        ModelError: They are more than 2^bits; the message names the layer.
    """
    most = 0
    for name, layer in weighted_layers(model):
        if name in skip:
            continue
        found = max(channel.unique().numel() for channel in layer.weight.detach().flatten(1))
        if found > 2**bits:
            raise ModelError(f"{name} has {found} levels in a channel, more than {bits} bits can tell apart")
        most = max(most, found)
    return most
