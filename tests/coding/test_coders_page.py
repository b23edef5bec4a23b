"""docs/coders.md and docs/format.md say all a reader needs: one written from them alone reads every file."""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from artifact import zoo_layouts
from artifact.models import Assorted, Tied, fold_, shared_, trained_like
from torch import Tensor, nn

from pithnet import zoo
from pithnet.artifact import decode, encode, inspect
from pithnet.coding import POSITION_CODERS, SYMBOL_CODERS, blocks, encode_positions, encode_symbols
from pithnet.coding.kernel_model import ATTRACTIONS, SPREADS, count_model
from pithnet.coding.rans_symbols import level_weight

from . import page_file, page_reader

ROOT = Path(__file__).parents[2]
SHAPES = [
    (),
    (77,),
    (30, 77),
    (9, 1),
    (20, 9, 3),
    (24, 16, 3, 3),
    (12, 6, 1, 1),
    (6, 4, 5, 5),
    (6, 4, 7, 7),
    (4, 3, 11, 11),
    (5, 3, 3, 1),
    (4, 3, 12, 2),
    (2, 3, 2, 2, 2),
    (3, 0, 3, 3),
]


def _uneven_mask(shape: tuple[int, ...], part: float, seed: int) -> np.ndarray:
    """A part of the positions; some rows and columns have far more of them than others."""
    rng = np.random.default_rng(seed)
    values = rng.random(shape)
    for axis in range(min(2, len(shape))):
        values *= np.exp(rng.normal(size=[n if i == axis else 1 for i, n in enumerate(shape)]))
    return np.asarray(values > np.quantile(values, 1 - part) if values.size else values > 0)


def _bell(levels: int, count: int, seed: int) -> np.ndarray:
    """Symbols below `levels`, those in the middle far more often."""
    numbers = np.random.default_rng(seed).normal(levels / 2, levels / 6, count)
    return np.clip(np.floor(numbers), 0, levels - 1).astype(int)


def _read_symbols(method: str, data: bytes, mask: np.ndarray) -> list[int]:
    where = (mask.ravel().tolist(), mask.shape) if SYMBOL_CODERS[method].needs_mask else ()
    return getattr(page_reader, method)(data, int(mask.sum()), *where)


def _assert_reads_symbols(method: str, symbols: np.ndarray, mask: np.ndarray) -> None:
    _, data = encode_symbols(symbols, method, mask)
    assert _read_symbols(method, data, mask) == symbols.tolist()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("method", sorted(set(POSITION_CODERS) - {"constant"}))
def test_masks_are_read(method: str, part: float, seed: int) -> None:
    for shape in SHAPES:
        mask = _uneven_mask(shape, part, seed)
        _, data = encode_positions(mask, method)
        assert getattr(page_reader, method)(data, shape) == mask.ravel().tolist(), shape


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("method", POSITION_CODERS)
def test_masks_of_one_value_are_read(method: str, stored: bool) -> None:
    for shape in SHAPES:
        _, data = encode_positions(np.full(shape, stored), method)
        assert getattr(page_reader, method)(data, shape) == int(np.prod(shape)) * [stored], shape


@pytest.mark.parametrize("levels", [1, 2, 3, 16, 17, 100, 256, 300])
@pytest.mark.parametrize("method", SYMBOL_CODERS)
def test_symbols_are_read(method: str, levels: int) -> None:
    levels = min(levels, 256) if method in ("neighbours", "lanes") else levels
    for seed, shape in enumerate(SHAPES):
        mask = _uneven_mask(shape, 0.4, seed)
        _assert_reads_symbols(method, _bell(levels, int(mask.sum()), seed), mask)
        _assert_reads_symbols(method, _bell(levels, mask.size, seed), np.ones(shape, bool))


@pytest.mark.parametrize("seed", [0, 1])
def test_neighbours_are_read_where_kernels_are_smooth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(24, 16, 1, 1)) + 0.5 * rng.normal(size=(24, 16, 3, 3))
    mask = abs(values) > 0.5
    symbols = np.digitize(values[mask], np.linspace(-2, 2, 9))
    _assert_reads_symbols("neighbours", symbols, mask)


@pytest.mark.parametrize("shape", [(40, 50, 3, 3), (60, 304), (70_001,)])
def test_lanes_are_read_where_rows_and_columns_differ(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    spread = np.exp(rng.normal(size=(shape[0], *(1 for _ in shape[1:]))) * (len(shape) > 1))
    symbols = np.clip(np.rint(rng.normal(size=shape) * spread), -7, 7).astype(int) + 7
    _assert_reads_symbols("lanes", symbols.ravel(), np.ones(shape, bool))


def test_neighbours_are_read_beyond_the_halving_of_counts() -> None:
    _assert_reads_symbols("neighbours", _bell(8, 120_000, 0), np.ones((300, 400), bool))


@pytest.mark.parametrize("count", [131_072, 131_073, 150_002])
def test_many_huffman_lanes_are_read(count: int) -> None:
    _assert_reads_symbols("huffman", _bell(5, count, 0), np.ones(count, bool))


def test_the_largest_symbols_are_read() -> None:
    symbols = np.array([65_535, 0, 65_535])
    _assert_reads_symbols("huffman", symbols, np.ones(3, bool))
    _assert_reads_symbols("rans", symbols // 64, np.ones(3, bool))


def test_frequencies_of_kernels_have_the_checksum_of_the_page() -> None:
    coded = b"".join(count_model(B, S).freqs.astype("<u2").tobytes() for B in range(1, 10) for S in range(8))
    told = int(re.findall("CRC-32 (0x[0-9a-f]{8})", (ROOT / "docs" / "coders.md").read_text())[0], 16)
    assert (zlib.crc32(coded), len(coded)) == (told, 2 * 73_008)
    for context in range(169):  # of the page's own rule, one of 72 tables
        starts = page_reader._starts_of_m(page_reader.density(context - 84), int(SPREADS[3]), 5)
        assert [b - a for a, b in pairwise(starts)] == count_model(5, 3).freqs[context].tolist()


@pytest.mark.parametrize(
    ("B", "width"), [(9, 3), (9, 9), (8, 2), (8, 4), (8, 8), (6, 2), (5, 5), (2, 1), (1, 1)]
)
def test_tiles_have_the_frequencies_of_the_page(B: int, width: int) -> None:
    for t in ATTRACTIONS:
        coded = blocks.arrangements(B, width, t).freq_of
        for m in range(1, B):
            tiles, starts = page_reader._tiles_with(m, B, width, t)
            if len(tiles) > 1:
                assert [b - a for a, b in pairwise(starts)] == coded[tiles].tolist()


def test_weights_are_those_of_the_page() -> None:
    for f in range(3):
        for level in range(256):
            assert level_weight(level, 2**f) == page_reader._weight(level, f)
            exact = 2 ** (32 - (level - 1) / 2**f)
            assert not level or abs(level_weight(level, 2**f) - exact) <= 1


def test_constants_are_printed_on_the_page() -> None:
    page = " ".join((ROOT / "docs" / "coders.md").read_text().split())
    for constants in (page_reader.W, page_reader.E):
        assert ", ".join(f"{constant:,}" for constant in constants) in page
    assert max(abs(e / 2**52 - 2 ** (i / 8)) for i, e in enumerate(page_reader.E)) < 2**-50


def _assert_same(read: dict[str, np.ndarray], expected: dict[str, Tensor]) -> None:
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        known = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        assert read[name].dtype == known.dtype, name
        assert read[name].shape == known.shape, name
        assert read[name].tobytes() == known.tobytes(), name


def _layout(model: nn.Module) -> list[page_file.Entry]:
    numbers = {torch.float32: page_file.FLOAT32, torch.int64: page_file.INT64}
    return [page_file.Entry(k, numbers[v.dtype], tuple(v.shape)) for k, v in model.state_dict().items()]


def test_a_record_is_read() -> None:
    """Its header names the architecture alone: the layout is that of docs/zoo-layouts.md."""
    numbers = {"float32": page_file.FLOAT32, "int64": page_file.INT64}
    told = [page_file.Entry(k, numbers[dtype], shape) for k, dtype, shape in zoo_layouts.read()["resnet20"]]
    data = (ROOT / "records" / "resnet20-public-28x.pith").read_bytes()
    _assert_same(page_file.read(data, told), decode(data)[0])


def test_a_file_with_lanes_is_read() -> None:
    rng = np.random.default_rng(0)
    spread = np.exp(0.5 * rng.normal(size=(114, 1, 1, 1))) * np.exp(0.5 * rng.normal(size=(114, 64, 1, 1)))
    values = rng.laplace(size=(114, 64, 3, 3)) * spread
    model = nn.Sequential(nn.Conv2d(64, 114, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(np.clip(np.rint(values), -7, 7) / 8 + 1))
    data = encode(model)
    assert inspect(data).tensors[0].coding.endswith("/lanes")
    _assert_same(page_file.read(data), decode(data)[0])


def test_a_file_of_widths_is_read() -> None:
    torch.manual_seed(0)
    model = zoo.build("resnet20", widths=(3, 2, 2, 2, 4, 5, 1, 4, 4, 8, 8, 2, 8, 8))
    data = encode(model)
    assert data[4] == 2
    _assert_same(page_file.read(data, _layout(model)), decode(data)[0])


@pytest.mark.parametrize("short_norm", [False, True])
def test_a_pruned_and_shared_network_is_read(short_norm: bool) -> None:
    model = shared_(trained_like("digits-cnn", width=8), zeros=0.8, levels=6)
    data = encode(fold_(model) if short_norm else model)
    _assert_same(page_file.read(data, _layout(model)), decode(data)[0])


@pytest.mark.parametrize("model", [Assorted(), Tied(), nn.Module(), nn.BatchNorm1d(5)])
def test_other_layouts_are_read(model: nn.Module) -> None:
    data = encode(model)
    _assert_same(page_file.read(data), decode(data)[0])


class _Grids(nn.Module):
    """Biases in one record: two on grids of their own, one of zeros, which are taken out."""

    def __init__(self) -> None:
        super().__init__()
        numbers = torch.randint(-50, 50, (400,), generator=torch.Generator().manual_seed(0))
        self.coarse = nn.ParameterDict({"bias": nn.Parameter(numbers[:200] / 8)})
        self.none = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(99))})
        self.fine = nn.ParameterDict({"bias": nn.Parameter(numbers[200:] / 2**20)})


def _every_coding() -> nn.Module:
    """Numbers for which each coding in turn is the shortest."""
    model = _Grids()
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(60, 50, generator=generator)
    few = torch.randn(300, generator=generator)
    grouped = torch.randn(20, 4, 64, generator=generator).mul(2).round() * few[:80].abs().view(20, 4, 1)
    for name, buffer in {
        "raw": torch.tensor([[200, 7], [30, 99]], dtype=torch.uint8),
        "deflate": torch.arange(900).view(30, 30),
        "raw16": normal[:2, :3].half().float(),
        "constant": torch.full((5, 7), 0.75),
        "float": normal,
        "fixed": (normal[:5] * 64).round() / 64,
        "grid": (normal[:5] * 64).round() * 0.0123,
        "row_grid": (normal * 3).round() * torch.linspace(0.011, 0.023, 60)[:, None],
        "row_grid_of_groups": grouped.flatten(1),
        "row_grid_off_zero": ((normal * 3).round() + 0.25) * torch.linspace(0.011, 0.023, 60)[:, None],
        "column_grid": ((normal * 3).round() + 0.25) * few[:50].abs(),
        "palette": few[(normal.abs() * 70).long()],
        "palette_of_halves": few.half().float()[(normal.abs() * 9).long()],
        "palette_of_steps": (few * 2**12).round()[(normal.abs() * 9).long()] / 2**12,
        "sparse": torch.where(normal > 1, few[(normal.abs() * 2).long()], 0.0),
    }.items():
        model.register_buffer(f"for_{name}", buffer)
    return model


def test_every_coding_is_read() -> None:
    data = encode(_every_coding())
    page = (ROOT / "docs" / "format.md").read_text()
    used = " ".join(tensor.coding for tensor in inspect(data).tensors)
    named = set(re.findall(r"^\| \d+ \| ([a-z0-9-]+) \|", page, re.M))
    assert set(re.findall(r"raw16|[a-z-]+", used)) >= named
    _assert_same(page_file.read(data), decode(data)[0])
