from __future__ import annotations

import msgpack
import pytest
import torch

from artifact.models import Tied
from pithnet import zoo
from pithnet.artifact.layout import (
    DTYPES,
    Entry,
    check_state,
    implied,
    layout_of,
    pack_layout,
    records,
    unpack_layout,
)
from pithnet.artifact.skeleton import skeleton
from pithnet.errors import ArtifactError


def test_resnet20_has_one_record_per_weight_and_four_for_batchnorm() -> None:
    layout = layout_of(zoo.build("resnet20").state_dict())
    found = records(layout, {})
    assert len([r for r in found if not r.norm]) == 19 + 1 + 1  # convolutions, linear weight, linear bias
    assert [len(r.entries) for r in found if r.norm] == [19] * 4
    stored = {e.name for r in found for e in r.entries}
    assert stored | implied(layout) == {e.name for e in layout}
    assert len(implied(layout)) == 19


def test_tied_tensors_have_no_record() -> None:
    layout = layout_of(Tied().state_dict())
    names = [e.name for r in records(layout, {"out.weight": "embed.weight"}) for e in r.entries]
    assert "embed.weight" in names
    assert "out.weight" not in names


def test_a_counter_that_is_no_batchnorms_is_stored() -> None:
    layout = (Entry("num_batches_tracked", (), torch.int64), Entry("running_mean", (3,), torch.float32))
    assert implied(layout) == set()
    assert len(records(layout, {})) == 2


def test_layouts_pack_and_unpack() -> None:
    layout = tuple(Entry(f"layer.{i}", (i, 2**30, 0)[: i % 4], d) for i, d in enumerate(DTYPES))
    assert unpack_layout(pack_layout(layout)) == layout


def _packed(*table: object) -> bytes:
    import zlib

    return zlib.compress(msgpack.packb(list(table)))


@pytest.mark.parametrize(
    "data",
    [
        b"no zlib",
        _packed(["a"], b"\0", [[1]])[:-1],
        _packed(["a"], b"\0", [[1]]) + b"x",
        _packed(["a"], b"\0"),
        _packed(["a"], b"\x63", [[1]]),
        _packed(["a", "b"], b"\0", [[1]]),
        _packed([1], b"\0", [[1]]),
        _packed(["a"], b"\0", [[-1]]),
        _packed(["a"], b"\0", [[2**31]]),
        _packed(["a"], b"\0", [[True]]),
        _packed(["a"], b"\0", [[1] * 17]),
        _packed(["a\x1b[2J"], b"\0", [[1]]),
        _packed(["a", "a"], b"\0\0", [[1], [1]]),
        _packed(*[0] * 5_000_000),
    ],
)
def test_malformed_layouts_are_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="header: "):
        unpack_layout(data)


@pytest.mark.parametrize(
    "value", [torch.zeros(2, dtype=torch.complex64), torch.zeros(2, 2).to_sparse(), "extra state"]
)
def test_what_no_file_holds_is_refused_by_name(value: object) -> None:
    with pytest.raises(ArtifactError, match="odd is a"):
        layout_of({"odd": value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("a\x1b[2J.weight", (2,), r"'a\\x1b\[2J\.weight' cannot be printed, .* rename it"),
        ("deep", (1,) * 17, "deep is .* at most 16 dimensions"),
    ],
)
def test_names_and_shapes_that_no_header_holds_are_refused(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        check_state({"good": torch.zeros(2), name: torch.zeros(shape)})


@pytest.mark.parametrize("name", sorted(zoo.ARCHITECTURES))
def test_a_skeleton_has_the_layout_and_no_numbers(name: str) -> None:
    bare = skeleton(name, {})
    assert layout_of(bare.state_dict()) == layout_of(zoo.build(name).state_dict())
    assert all(t.is_meta for t in bare.state_dict().values())


def test_a_skeleton_is_float32_and_draws_no_random_numbers() -> None:
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    try:
        bare = skeleton("digits-cnn", {"width": 4})
    finally:
        torch.set_default_dtype(torch.float32)
    assert {v.dtype for v in bare.state_dict().values()} == {torch.float32, torch.int64}
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet21", {}),
        ("resnet20", {"classes": 10**9}),
        ("resnet20", {"classes": 0}),
        ("resnet20", {"classes": -1}),
        ("resnet20", {"classes": float("nan")}),
        ("resnet20", {"classes": "ten"}),
        ("resnet20", {"classes": "x" * 1000}),
        ("resnet20", {"name": 1}),
        ("resnet20", {"unheard_of": 1}),
    ],
)
def test_a_skeleton_that_cannot_be_is_refused(name: str, arguments: dict[str, int]) -> None:
    with pytest.raises(ArtifactError, match="header: resnet2") as caught:
        skeleton(name, arguments)
    assert len(str(caught.value)) < 500
