"""The files of `lab ptq`: float32, static and dynamic int8, as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from pithnet.deploy import dynamic_int8, export_onnx, static_int8, with_stored_biases
from pithnet.labs.notebook import Row
from pithnet.labs.ptq.schemes import HOUSE, SOURCE, Scheme
from pithnet.labs.ptq.source import DYNAMIC, FLOAT, STATIC


class Form(NamedTuple):
    """A file: its name in the table, its kind, and the scheme where it is static int8."""

    what: str
    kind: str
    scheme: Scheme | None = None

    @property
    def file(self) -> str:
        return self.what.replace(",", "").replace(" ", "-") + ".onnx"


FORMS = (
    Form(FLOAT, FLOAT),
    Form(f"{STATIC}, per channel", STATIC, HOUSE),
    Form(f"{STATIC}, per tensor", STATIC, SOURCE),
    Form(DYNAMIC, DYNAMIC),
)


def write(
    form: Form,
    model: nn.Module,
    images: Tensor,
    path: Path,
    facts: Mapping[str, str],
    simulate: Callable[[Scheme], nn.Module],
) -> nn.Module:
    """Writes the file; returns the model that it should answer as."""
    shape, lowered, expected = tuple(images.shape[1:]), model, model
    if form.scheme is not None:
        expected = simulate(form.scheme)
        lowered = static_int8(expected).model
    elif form.kind == DYNAMIC:
        lowered = dynamic_int8(model).model
    export_onnx(lowered, shape, path, facts)
    return with_stored_biases(expected, path) if form.scheme else expected


def size_columns(path: Path) -> Row:
    size = path.stat().st_size
    return {"bytes": size, "mib": size / 2**20}
