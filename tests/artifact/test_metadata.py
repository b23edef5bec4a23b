from __future__ import annotations

import msgpack
import pytest

from pithnet.artifact.metadata import Metadata, from_header, to_header
from pithnet.errors import ArtifactError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FULL = Metadata(
    architecture="resnet20",
    arguments={"classes": 10},
    normalization=IMAGENET,
    dataset="cifar10",
    classes=("plane", "car"),
    recipe={"name": "smallest", "steps": [1, 2.5, None]},
    claimed=(10_000, 9_123),
    source="12fca82f" * 8,
)


def _again(meta: Metadata) -> Metadata:
    return from_header(msgpack.unpackb(msgpack.packb(to_header(meta))))


@pytest.mark.parametrize(
    "meta",
    [
        Metadata(),
        FULL,
        Metadata(normalization=((1 / 3,), (1e-9,))),
        Metadata(normalization=((0.5,) * 64, (1.0,) * 64)),
        Metadata(recipe="x"),
    ],
)
def test_what_is_said_is_read_back(meta: Metadata) -> None:
    assert _again(meta) == meta


def test_nothing_said_costs_one_byte_and_normalization_25() -> None:
    assert len(msgpack.packb(to_header(Metadata()))) == 1
    assert len(msgpack.packb(to_header(Metadata(normalization=IMAGENET)))) <= 26


def test_source_keeps_sixteen_digits_and_accuracy_is_a_share() -> None:
    assert FULL.source == "12fca82f12fca82f"
    assert FULL.accuracy == 0.9123
    assert Metadata().accuracy is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "12fc"}, "at least 16 hexadecimal"),
        ({"source": "no hex at all...."}, "no sha256"),
        ({"claimed": (10, 11)}, "claimed 11 correct answers of 10"),
        ({"normalization": ((0.5,), (1.0, 1.0))}, "as many finite means"),
        ({"normalization": ((0.5,), (0.0,))}, "non-zero stds"),
        ({"normalization": ((0.5,) * 65, (1.0,) * 65)}, "of 65 channels; a file holds 64"),
        ({"recipe": {"f": print}}, "recipe must be"),
        ({"recipe": {"x": float("nan")}}, "recipe must be"),
        ({"architecture": "a", "arguments": {"widths": [1, 2]}}, "argument 'widths' of a is"),
    ],
)
def test_what_a_file_cannot_say_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Metadata(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        {"a": "resnet20"}, {"a": []}, {"a": [1]}, {"a": ["x", [1]]}, {"a": ["\x1b[2J"]}, {"a": ["x" * 999]},
        {"a": ["x", {"a\0": 1}]}, {"n": [[3, 1]]}, {"n": [[3, 1.5], [3, 1]]}, {"n": [[], []]},
        {"n": [[9, 1], [9, 1]]}, {"c": [1]}, {"c": "ab"}, {"y": [1]}, {"y": [True, True]},
        {"s": b"short"}, {"s": "12345678"}, {"d": 1}, {"r": [1]},
    ],
)  # fmt: skip
def test_malformed_entries_are_named(header: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match=f"entry '{next(iter(header))}'"):
        from_header(header)
