"""What the user chose for a run, as plain data: the command line's options and a run folder's settings.json.

No torch here: the command line builds its help from these classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pithnet.errors import PithError, RecipeError
from pithnet.training import Train

Settings = TypeVar("Settings", bound="DataSettings | TrainSettings | CompressSettings")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, and how the network sees them.

    Args:
        data: cifar10, digits (bundled), folder (of images) or npz. Default: what a .pith names, else cifar10.
        data_root: where the images are; the bundled digits need none.
        download: fetch CIFAR-10 into --data-root where it is missing.
        normalize: cifar10, imagenet, digits, or means/stds such as 0.5,0.5,0.5/0.25,0.25,0.25. Default:
            what a .pith says; imagenet for a checkpoint with "module." before its keys; else the data set's.
        val: hold out this many training images and measure on them instead of on the test images; the same
            ones for every seed and in every command, so give the same number to each.
    """

    data: str | None = None
    data_root: str | None = None
    download: bool = False
    normalize: str | None = None
    val: int = 0

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.data or "cifar10"


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Train):
    """A training from random weights.

    Args:
        model: name of the architecture, such as resnet20 or digits-cnn.
        epochs: how often each image is seen.
        lr: the highest learning rate.
        batch_size: images in a batch.
        schedule: one-cycle, cosine or constant.
        warmup: share of the training in which the learning rate rises.
        optimizer: sgd (with Nesterov's momentum) or adamw.
        momentum: the momentum of SGD, or AdamW's beta 1.
        weight_decay: on matrices and filters; not on biases and normalisation.
        clip_norm: the largest norm of the gradient; a larger one is scaled down to it.
        label_smoothing: share of the target spread over all classes.
        teacher: learn from a trained network too, ARCH:FILE, such as resnet44:resnet44.pt. Of folder and npz,
            it sees the images by --normalize; of cifar10 and digits, by the normalisation of its own file:
            imagenet with "module." before its keys, else the data set's.
        distill: weight of the teacher's part in the loss, 0 to 1.
        precision: float32, bf16, or auto: bf16 where the processor computes in it.
        device: where the network is trained and measured: cpu, or cuda for one GPU.
        seed: of the weights, the order of the images and their augmentation.
    """

    model: str | None = None
    # A network with random weights bears, and needs, a higher rate than one that is fine-tuned.
    epochs: int = 30
    lr: float = 0.2
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: float = 0.2
    batch_size: int = 128
    label_smoothing: float = 0.0
    teacher: str | None = None
    distill: float = 0.9
    precision: str = "float32"
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except RecipeError as e:
            field, rest = str(e).split(" ", 1)
            raise RecipeError(f"--{field.replace('_', '-')} {rest}") from None


@dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """A recipe on a trained network.

    Args:
        model: name of the architecture, such as resnet20.
        weights: the checkpoint to compress.
        recipe: name of a preset (deep-compression, smallest, demo) or a YAML file.
        teacher: learn from another trained network, ARCH:FILE, instead of from the float model itself. Of
            folder and npz, it sees the images by --normalize; of cifar10 and digits, by the normalisation of
            its own file: imagenet with "module." before its keys, else the data set's.
        source_files: also write the six files of the field's course work on Deep Compression,
            net_before_pruning.pt to huffman_freq.npy.
        cache: folder for the teacher's answers, which several runs can share. Default: cache in the run.
        device: where the network is trained and measured: cpu, or cuda for one GPU.
        seed: overrides the recipe's.
    """

    model: str | None = None
    weights: str | None = None
    recipe: str = "deep-compression"
    teacher: str | None = None
    source_files: bool = False
    cache: str | None = None
    device: str = "cpu"
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """A network as an ONNX file.

    Args:
        model: name of a checkpoint's architecture, such as resnet18.
        int8: weights and activations in 8 bits, calibrated on training images.
        dynamic: linear layers in 8 bits, their inputs quantized anew for every batch; needs no images.
        calibrate: this many training images, none of those that --val holds out.
        seed: which images.
    """

    model: str | None = None
    int8: bool = False
    dynamic: bool = False
    calibrate: int = 512
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How files are timed.

    Args:
        model: name of a checkpoint's architecture, or of the network in an ONNX file of another program.
        batch: images in a batch, one or more numbers.
        threads: one or more numbers. Default: 1 and as many as there are cores.
        seconds: for each batch size and number of threads; never fewer than 7 rounds.
        openvino: time ONNX files in OpenVINO too.
    """

    model: str | None = None
    batch: tuple[int, ...] = (1, 64)
    threads: tuple[int, ...] = ()
    seconds: float = 10.0
    openvino: bool = False


def absolute(settings: Settings) -> Settings:
    """The same settings with absolute paths, so that a run can be continued from another folder."""
    changes: dict[str, str] = {}
    for name in ("data_root", "weights", "cache"):
        value = getattr(settings, name, None)
        if value is not None:
            changes[name] = str(Path(value).absolute())
    teacher = getattr(settings, "teacher", None)
    if teacher is not None and ":" in teacher:
        architecture, _, file = teacher.partition(":")
        changes["teacher"] = f"{architecture}:{Path(file).absolute()}" if file else teacher
    return replace(settings, **changes)  # type: ignore[arg-type]


def to_json(
    kind: str,
    command: str,
    data: DataSettings,
    settings: TrainSettings | CompressSettings,
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """What settings.json holds; inputs: digests of what the run learns from."""
    return {
        "kind": kind,
        "command": command,
        "data": asdict(absolute(data)),
        "settings": asdict(absolute(settings)),
        "inputs": dict(inputs),
    }


def from_json(
    content: Any, kind: str, cls: type[Settings], where: Path
) -> tuple[DataSettings, Settings, str]:
    """(data, settings, command) of a run. Raises PithError where it is of another kind, or damaged."""
    found = content.get("kind") if isinstance(content, dict) else None
    if found in ("train", "compress") and found != kind:
        raise PithError(f"{where} holds a {found} run; continue it with: pithnet {found} --resume {where}")
    try:
        if found != kind:
            raise ValueError(f"its kind is {found!r}, not {kind!r}")
        if not isinstance(content.get("inputs", {}), dict):
            raise ValueError("its inputs are no digests by name")
        return DataSettings(**content["data"]), cls(**content["settings"]), str(content["command"])
    except (KeyError, TypeError, ValueError) as e:
        raise PithError(f"{where / 'settings.json'} is not what pithnet {kind} writes: {e}") from None
