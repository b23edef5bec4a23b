"""What is said of an operation of a network's graph: its kind, and facts that hold for all of that kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torch import nn


class Kind(StrEnum):
    """What an operation does with its inputs; the value is what tables print."""

    CONVOLUTION = "convolution"
    TRANSPOSED_CONVOLUTION = "transposed convolution"
    LINEAR = "linear"
    BILINEAR = "bilinear"
    RECURRENT = "recurrent"
    EMBEDDING = "embedding"
    ATTENTION = "attention"
    TRANSFORMER = "transformer"
    MATMUL = "matrix product"
    ADD_MATMUL = "add matrix product"
    CONTRACTION = "contraction"
    BATCH_NORM = "batch norm"
    GROUP_NORM = "group norm"
    LAYER_NORM = "layer norm"
    RMS_NORM = "rms norm"
    INSTANCE_NORM = "instance norm"
    LOCAL_NORM = "local response norm"
    RELU = "relu"
    LEAKY_RELU = "leaky relu"
    ACTIVATION = "activation"
    GATE = "gated linear unit"
    SOFTMAX = "softmax"
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    ELEMENTWISE = "elementwise"
    COMPARE = "compare"
    MEAN = "mean"
    SUM = "sum"
    REDUCTION = "reduction"
    MAX_POOL = "max pool"
    AVERAGE_POOL = "average pool"
    RESIZE = "resize"
    PAD = "pad"
    CONCATENATE = "concatenate"
    STACK = "stack"
    SPLIT = "split"
    SLICE = "slice"
    RESHAPE = "reshape"
    PERMUTE = "permute"
    CHANNEL_SHUFFLE = "channel shuffle"
    PIXEL_SHUFFLE = "pixel shuffle"
    EXPAND = "expand"
    IDENTITY = "identity"
    COPY = "copy"
    CAST = "cast"
    ROUNDING = "rounding"
    DROPOUT = "dropout"
    CREATE = "create"
    SHAPE = "shape"
    CHECK = "check"
    OTHER = "other"


@dataclass(frozen=True)
class Operation:
    """One line of the table.

    Attributes:
        kind: What the operation does.
        modules: The classes of modules that do it; a subclass counts as the nearest base in the table.
        names: What its functions are called in torch, torch.nn.functional, torch.special and operator, its
            methods on a tensor, and its operators in torch.ops.aten.
        multiplies: Whether it multiplies matrices, or may, so that it has multiply-accumulates.
        moves: Whether it only moves or picks numbers: of what it was given, a place of each that it gives.
        views: Whether it writes no numbers, and gives another view of what it was given.
        passes_scale: Whether a positive factor passes through: f(c x) = c f(x) for c > 0, number by number.
        clips_at_zero: Whether it gives nothing below zero, and zero for everything below zero.
        several: Whether it gives several tensors.
    """

    kind: Kind
    modules: tuple[type[nn.Module], ...] = ()
    names: tuple[str, ...] = ()
    multiplies: bool = False
    moves: bool = False
    views: bool = False
    passes_scale: bool = False
    clips_at_zero: bool = False
    several: bool = False

    @property
    def does_nothing(self) -> bool:
        """Whether it gives in eval mode what it was given, as nn.Identity and nn.Dropout do."""
        return self.kind in (Kind.IDENTITY, Kind.DROPOUT)


UNKNOWN = Operation(Kind.OTHER, multiplies=True)  # what the table does not have may do anything
