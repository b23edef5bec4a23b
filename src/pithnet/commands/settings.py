"""What the user chose for a run, as plain data: the command line's options.

It imports no torch: the command line builds its help from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pithnet.errors import RecipeError
from pithnet.training import Train


def is_own(name: str | None) -> bool:
    """Tells whether a name is that of a user's own function, package.module:function."""
    return name is not None and ":" in name


def split_teacher(text: str) -> tuple[str, str]:
    """Returns (network, file) of ARCH:FILE or package.module:function:FILE; the file is "" without one."""
    name, _, file = text.partition(":")
    function, separator, rest = file.partition(":")
    # One letter before a colon is a drive, as in C:.
    if separator and len(function) > 1 and function.isidentifier():
        return f"{name}:{function}", rest
    return name, file


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images there are, and how the network sees them.

    Args:
        data: Name the data set: cifar10, digits (bundled), folder (of images) or npz. Or name a function of
            your own as package.module:function: it is imported from the working directory, and returns a
            pair of loaders (train, val) or a dict of train, val, loss and metric. Without this option, the
            images are those that a .pith names, else cifar10.
        data_root: Read the images from this folder or file. The bundled digits need none.
        download: Fetch CIFAR-10 into --data-root where it is missing.
        normalize: Normalise the images as cifar10, imagenet or digits, or by means/stds such as
            0.5,0.5,0.5/0.25,0.25,0.25. Without it, a .pith says how; a checkpoint with "module." before its
            keys is given imagenet's way, and any other its data set's.
        val: Hold out this many training images, and measure on them instead of on the test images. They are
            the same ones for every seed and in every command, so give the same number to each.
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

    @property
    def own(self) -> bool:
        """Whether a function of the user's own gives the batches."""
        return is_own(self.data)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Train):
    """A training from random weights.

    Args:
        model: Name the architecture, such as resnet20 or digits-cnn, or a function of your own that returns
            the network, as package.module:function. It is imported from the working directory.
        epochs: Train for this many epochs. In each of them the network sees every image once.
        lr: Let the learning rate rise to this value, its highest.
        batch_size: Put this many images into a batch. Loaders of your own make their own batches.
        schedule: Let the learning rate go by one-cycle, cosine or constant.
        warmup: Let the learning rate rise during this share (0 to 1) of the training.
        optimizer: Step by sgd, which has Nesterov's momentum, or by adamw.
        momentum: Give SGD this momentum, or AdamW this beta 1.
        weight_decay: Let matrices and filters decay so much. Biases and normalisation do not decay.
        clip_norm: Scale every gradient down to this norm where its norm is larger.
        label_smoothing: Spread this share (from 0, below 1) of every target over all classes.
        teacher: Learn from a trained network too, given as ARCH:FILE, such as resnet44:resnet44.pt, or as
            package.module:function:FILE. It sees the images of folder and npz as --normalize says, and those
            of cifar10 and digits as its own file says: imagenet's way with "module." before its keys, else
            the data set's.
        distill: Weigh the teacher's part of the loss by this number from 0 to 1.
        widths: Give the network of the zoo the widths in this JSON file: the one that pn.save_state
            writes beside a shrunk network's tensors, or what the to_json() of pn.plan_shrink returns.
        precision: Compute in float32, in bf16, or with auto in whichever of the two a training step is
            faster.
        device: Train and measure on cpu, or on cuda, which is one GPU.
        seed: Draw the weights, the order of the images and their augmentation from this seed.

    Raises:
        RecipeError: A number is outside its range; the message names the option.
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
    widths: str | None = None
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
        model: Name the architecture, such as resnet20, or a function of your own that returns the network, as
            package.module:function. It is imported from the working directory.
        weights: Read the weights from this checkpoint, a file of torch.save or .safetensors. You can leave it
            out where your own function returns a trained network.
        recipe: Carry out this recipe: a preset (deep-compression, smallest, post-training, demo) or a YAML
            file.
        teacher: Learn from another trained network, given as ARCH:FILE or as package.module:function:FILE,
            instead of from the float network itself. It sees the images of folder and npz as --normalize
            says, and those of cifar10 and digits as its own file says: imagenet's way with "module." before
            its keys, else the data set's.
        budget: Keep these budgets in the place of the recipe's, such as bytes=63k or macs=0.5,bytes=63k.
            A number up to 1 is a share, a whole one above 1 a count; k, M, G are 10^3, 10^6 and 10^9. That of
            rate is in bits a weight, such as rate=2.5.
        calibrate: Calibrate on this many training images, without their labels, in the step post_training.
            With 0 the weights alone decide.
        distill: Learn from the float network, or the teacher, for this many epochs after the step
            post_training, on training images without their labels. The file keeps its budget.
        cache: Keep the teacher's answers in this folder, which several runs can share. Without it they are
            kept in the run's own folder.
        device: Train and measure on cpu, or on cuda, which is one GPU.
        seed: Take this seed instead of the recipe's.
    """

    model: str | None = None
    weights: str | None = None
    recipe: str = "deep-compression"
    teacher: str | None = None
    budget: str | None = None
    calibrate: int | None = None
    distill: int | None = None
    cache: str | None = None
    device: str = "cpu"
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """What a recipe would do to a network.

    Args:
        model: Name the architecture, such as resnet20, or a function of your own that returns the network, as
            package.module:function. It is imported from the working directory.
        weights: Read the weights from this checkpoint, a file of torch.save or .safetensors. Without it, the
            plan is that of fresh weights, or of those that your own function returns.
        recipe: Plan this recipe: a preset (deep-compression, smallest, post-training, demo) or a YAML file.
        example: Give the lengths of an input of your own network, such as 1x3x32x32, batch first, to count
            multiply-accumulates. Without it, the first batch of --data says them.
        budget: Keep these budgets in the place of the recipe's, such as bytes=63k or macs=0.5,bytes=63k.
            A number up to 1 is a share, a whole one above 1 a count; k, M, G are 10^3, 10^6 and 10^9. That of
            rate is in bits a weight, such as rate=2.5.
        calibrate: Calibrate on this many training images, without their labels, in the step post_training.
            With 0 the weights alone decide.
        distill: Learn from the float network for this many epochs after the step post_training.
    """

    model: str | None = None
    weights: str | None = None
    recipe: str = "deep-compression"
    budget: str | None = None
    example: str | None = None
    calibrate: int | None = None
    distill: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """A network as an ONNX file.

    Args:
        model: Name the architecture of a checkpoint, such as resnet18, or a function of your own that returns
            the network, as package.module:function.
        example: Give the lengths of an input of your own network, such as 1x3x32x32, batch first. Without it,
            the first batch of --data says them.
        int8: Store weights and activations in 8 bits, calibrated on training images.
        dynamic: Store linear layers in 8 bits, and quantize their inputs anew for every batch. This needs no
            images.
        calibrate: Calibrate on this many training images. None of them is one that --val holds out. Of
            loaders of your own, at most 512 are taken.
        seed: Choose the images for the calibration by this seed.
    """

    model: str | None = None
    example: str | None = None
    int8: bool = False
    dynamic: bool = False
    calibrate: int = 512
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How files are timed.

    Args:
        model: Name the architecture of a checkpoint, or of the network in another program's ONNX file, or a
            function of your own that returns the network, as package.module:function.
        example: Give the lengths of an input of your own network, such as 1x3x32x32, batch first.
        batch: Time batches of this many images. You can give several numbers.
        threads: Time with this many threads. You can give several numbers; without one, the bench takes 1 and
            as many as there are cores.
        seconds: Time for so long at each batch size and number of threads, and never fewer than 7 rounds.
        openvino: Time ONNX files in OpenVINO too.
    """

    model: str | None = None
    example: str | None = None
    batch: tuple[int, ...] = (1, 64)
    threads: tuple[int, ...] = ()
    seconds: float = 10.0
    openvino: bool = False
