"""What is pinned: the bytes that one-shot passes and presets give from one small trained network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

import pithnet as pn
from pithnet import artifact, data, zoo
from pithnet.passes import SCOPES
from pithnet.recipe import Recipe, load_recipe
from pithnet.surgery.weights.finalize import ROUNDINGS
from pithnet.tensor import CRITERIA
from pithnet.tensor.quantizers import FITS, QUANTIZERS

HERE = Path(__file__).parent
STATE = HERE / "digits-cnn-8.pt"
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_CBWR")
PRESETS = ("demo", "deep-compression", "smallest")
Case = Callable[[], nn.Module]


def network() -> nn.Module:
    """digits-cnn of width 8 in eval mode, trained for 30 epochs: 98.6 % of the bundled test digits."""
    model = zoo.build("digits-cnn", width=8)
    model.load_state_dict(torch.load(STATE, weights_only=True))
    return model.eval()


def batches(split: str) -> data.Batches:
    """The bundled digits: training images shuffled and shifted by at most a pixel, test images plain."""
    normalization = data.NORMALIZATIONS["digits"]
    images = data.load("digits", None, split)
    if split == "test":
        return data.Batches(images, 500, normalization)
    moved = data.Augmentation(pad=1, flip=False)
    return data.Batches(images, 64, normalization, augmentation=moved, shuffle=True, seed=0)


def _changed(change: Callable[[nn.Module], object]) -> Case:
    def case() -> nn.Module:
        model = network()
        change(model)
        return pn.finalize(model)

    return case


def _shared(model: nn.Module, **options: object) -> None:
    pn.prune(model, 0.6)
    generator = torch.Generator().manual_seed(0)
    pn.share(model, **{"bits": 3, "generator": generator, **options})  # type: ignore[arg-type]


def _equalized(model: nn.Module) -> None:
    pn.surgery.fold_into_layers_(model)
    pn.passes.equalize(model)


def _cases() -> dict[str, Case]:
    cases = {"encode": network}
    for name in ROUNDINGS:
        storage = pn.Storage(codebook=name, norm=name, other=name)
        cases[f"finalize {name}"] = lambda s=storage: pn.finalize(network(), s)  # type: ignore[misc]
    cases["finalize without folding"] = lambda: pn.finalize(network(), pn.Storage(fold=False))
    for scope in SCOPES:
        for criterion in (name for name, known in CRITERIA.items() if not known.needs_batches):
            cases[f"prune {scope} {criterion}"] = _changed(
                lambda m, s=scope, c=criterion: pn.prune(  # type: ignore[misc]
                    m, 0.7, scope=s, criterion=c, generator=torch.Generator().manual_seed(0)
                )
            )
    cases["prune std"] = _changed(lambda m: pn.prune_by_std(m, 1.0))
    for init in ("linear", "random", "density", "kmeans++", "optimal"):
        cases[f"share {init}"] = _changed(lambda m, i=init: _shared(m, init=i))  # type: ignore[misc]
    cases["share by rate"] = _changed(lambda m: _shared(m, bits=None, levels=6, rate_weight=0.02))
    for quantizer in QUANTIZERS:
        for fit in FITS:
            cases[f"quantize {quantizer} {fit}"] = _changed(
                lambda m, q=quantizer, f=fit: pn.quantize(m, 4, quantizer=q, fit=f)  # type: ignore[misc]
            )
    cases["fold, equalize"] = _changed(_equalized)
    return cases


ONE_SHOT = _cases()


def without_labels() -> nn.Module:
    """Three bits by gradient steps on 64 unlabelled digits: sums of floats decide the roundings."""
    model, images = network(), next(iter(batches("test")))[0][:64]
    pn.quantize_without_labels(model, 3, images, steps=20)
    return pn.finalize(model)


def compressed(preset: str) -> nn.Module:
    """The model that a preset gives at seed 0, trained in float32 on the bundled digits."""
    recipe: Recipe = load_recipe(preset).model_copy(update={"precision": "float32", "seed": 0})
    return pn.compress(network(), batches("train"), batches("test"), recipe).model


# What a sum of floats decides: its last bit depends on the processor and on the libraries' choice of kernels.
TRAINED: dict[str, Case] = {
    "quantize without labels": without_labels,
    **{preset: partial(compressed, preset) for preset in PRESETS},
}


def digest(model: nn.Module) -> str:
    """SHA-256 of the bytes of the file that a model encodes to, without metadata."""
    return hashlib.sha256(artifact.encode(model)).hexdigest()


def machine() -> str:
    """What the last bit of a float sum depends on: processor, instruction set, limits of libraries, torch."""
    limits = (f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ)
    version = f"torch {torch.__version__.split('+')[0]}"
    return ", ".join([*_processor(), torch.backends.cpu.get_cpu_capability(), *limits, version])


def _processor() -> list[str]:
    """Name, family and model: virtual machines give one name to several generations."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    names = ("model name", "cpu family", "model")
    return [
        f"{said[name]}" if name == "model name" else f"{name} {said[name]}" for name in names if name in said
    ]
