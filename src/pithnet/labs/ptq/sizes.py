"""Item 2 of `lab ptq`: how large the source's VGG-16, the form for ImageNet, is as a file."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import nn

from pithnet import zoo
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.ptq.files import FORMS, Form, size_columns, write
from pithnet.labs.ptq.items import linear_columns
from pithnet.labs.ptq.schemes import Scheme
from pithnet.labs.ptq.source import published_columns
from pithnet.passes import quantize

IMAGENET = "vgg16-imagenet"
_RANDOM_IMAGES = 4


def sized(book: Notebook) -> None:
    """Sizes of the source's VGG-16, whose weights and images are random here: they do not change its size."""
    for form in (FORMS[0], FORMS[1], FORMS[3]):
        book.row("2", f"{IMAGENET}, {form.kind}", partial(_sized, form))


def _sized(form: Form) -> Row:
    torch.manual_seed(0)
    model = zoo.build(IMAGENET).eval().requires_grad_(False)
    images = torch.randn(_RANDOM_IMAGES, *zoo.input_shape(IMAGENET))

    def simulate(scheme: Scheme) -> nn.Module:
        quantize(model, scheme.weights, activations=scheme.activations, calibrate=images)
        return model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / form.file
        write(form, model, images, path, {}, simulate)
        row = {"kind": form.kind, "network": IMAGENET, **size_columns(path)}
    note = "random weights" + (f", calibrated on {_RANDOM_IMAGES} random images" if form.scheme else "")
    return {**row, "note": note, **linear_columns(model), **published_columns(IMAGENET, form.kind)}
