"""Large tensors of few levels: `lanes` against the coders of one lane, in bytes and symbols per second.

    python benchmarks/bench_lanes.py [CHECKPOINT ...] [--least 290000] [--repeats 5] [--json]

Every convolution of a checkpoint with at least so many weights is pruned to 80 % zeros and quantized to
4 bits by pithnet's own passes; then all of them count together. A synthetic matrix of 512 x 4608, with rows
of varying density, comes last. Times are medians of the seconds of one thread of the processor, which other
programs disturb less than the clock. `nb` is `neighbours` on all levels, `two` is `kernels` and `neighbours`;
they run once. The last column is by how much `lanes` is above the smaller of the two. `fast` is `lanes` with
the loops that numba compiles, where it is installed: the same bytes. What its import and its first use in a
process take is said at the end, with an empty cache and from the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.artifact.row_scales import row_multiples
from pithnet.coding import kernels, lanes, neighbours
from pithnet.coding.compiled import VARIABLE

SPARSITY, BITS = 0.8, 4
NUMBA = find_spec("numba") is not None
WAYS = ("lanes", *(("fast",) if NUMBA else ()), "nb", "two")
FIRST_USE = """
import time
import numpy as np
from pithnet.coding import lanes
began = time.process_time()
symbols = np.arange(1 << 16, dtype=np.uint8) % 7
lanes.decode(lanes.encode(symbols, np.ones(1 << 16, bool)), 1 << 16, np.ones(1 << 16, bool))
print(time.process_time() - began)
"""


def layers(path: Path, least: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the symbols of each large layer of a checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    for name, weight in state.items():
        if weight.ndim == 4 and weight.shape[2] > 1 and weight.numel() >= least:
            yield f"{path.stem} {name}", quantized(weight.float())


def quantized(weight: Tensor) -> np.ndarray:
    """Returns the levels of a weight after pruning and quantization, counted from the lowest, as uint8."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=False)
    layer.weight.data.copy_(weight)
    model = nn.Sequential(layer)
    pn.prune(model, SPARSITY)
    pn.quantize(model, BITS)
    values = pn.finalize(model)[0].weight.detach().numpy()
    found = row_multiples(values.reshape(len(values), -1))
    assert found is not None
    levels, symbols = np.unique(found[0], return_inverse=True)
    assert levels.size <= 16
    return symbols.reshape(values.shape).astype(np.uint8)


def synthetic() -> np.ndarray:
    """Returns a matrix of 15 levels, whose rows differ in how many zeros they have, 80 % in all."""
    rng = np.random.default_rng(0)
    values = rng.laplace(size=(512, 4608)) * np.exp(0.5 * rng.normal(size=(512, 1)))
    border = np.quantile(abs(values), SPARSITY)
    whole = np.clip(np.ceil((abs(values) - border) / (2 * border)), 0, 7) * np.sign(values)
    return (whole + 7).astype(np.uint8)


def bench(symbols: np.ndarray, repeats: int) -> dict[str, float]:
    """Returns bytes and millions of symbols a second of each way to code a tensor."""
    everywhere = np.broadcast_to(np.True_, symbols.shape)
    zero = int(np.bincount(symbols.reshape(-1)).argmax())
    mask = symbols != zero
    values = np.unique(symbols[mask], return_inverse=True)[1].astype(np.uint8)
    flat = symbols.reshape(-1)
    whole = (lambda: lanes.encode(flat, everywhere)), (lambda s: lanes.decode(s, flat.size, everywhere))
    ways: dict[str, tuple[Callable[[], Any], Callable[[Any], np.ndarray]]] = {
        "lanes": whole,
        "fast": whole,
        "nb": (
            lambda: neighbours.encode(flat, everywhere),
            lambda s: neighbours.decode(s, flat.size, everywhere),
        ),
        "two": (
            lambda: (kernels.encode(mask), neighbours.encode(values, mask)),
            lambda s: neighbours.decode(s[1], values.size, kernels.decode(s[0], mask.shape)),
        ),
    }
    row: dict[str, float] = {"symbols": flat.size}
    for name, (encode, decode) in ((name, ways[name]) for name in WAYS):
        often = repeats if name in ("lanes", "fast") else 1
        os.environ[VARIABLE] = "1" if name == "fast" else "0"
        if name == "fast":
            decode(encode())  # compiles
        encoding, stream = median_seconds(encode, often)
        decoding, decoded = median_seconds(lambda stream=stream, decode=decode: decode(stream), often)
        assert np.array_equal(decoded, values if name == "two" else flat)
        size = sum(map(len, stream)) if isinstance(stream, tuple) else len(stream)
        row |= {
            f"{name}_bytes": size,
            f"{name}_encode": flat.size / encoding / 1e6,
            f"{name}_decode": flat.size / decoding / 1e6,
        }
    assert not NUMBA or row["fast_bytes"] == row["lanes_bytes"]
    return row | {"above_percent": 100 * (row["lanes_bytes"] / min(row["nb_bytes"], row["two_bytes"]) - 1)}


def median_seconds(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def together(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Returns the row of all these layers: sums of symbols, bytes and seconds."""
    total = {"symbols": sum(row["symbols"] for row in rows.values())}
    for way in WAYS:
        total[f"{way}_bytes"] = sum(row[f"{way}_bytes"] for row in rows.values())
        for speed in (f"{way}_encode", f"{way}_decode"):
            total[speed] = total["symbols"] / sum(row["symbols"] / row[speed] for row in rows.values())
    return total | {
        "above_percent": 100 * (total["lanes_bytes"] / min(total["nb_bytes"], total["two_bytes"]) - 1)
    }


def memory(count: int) -> dict[str, float]:
    """Returns the most bytes that are in use at a time while so many symbols are encoded and decoded."""
    columns = count // 512 // 9
    symbols = np.random.default_rng(0).binomial(14, 0.5, count // columns // 9 * columns * 9).astype(np.uint8)
    mask = np.broadcast_to(np.True_, (symbols.size // columns // 9, columns, 3, 3))
    tracemalloc.start()
    stream = lanes.encode(symbols, mask)
    encoding = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    lanes.decode(stream, symbols.size, mask)
    peaks = {"encode_peak": encoding, "decode_peak": tracemalloc.get_traced_memory()[1]}
    tracemalloc.stop()
    return {"symbols": symbols.size, **peaks}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--least", type=int, default=290_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, float]] = {}
    for path in options.checkpoints:
        own = {name: bench(symbols, options.repeats) for name, symbols in layers(path, options.least)}
        rows |= own | {f"{path.stem} together": together(own)}
    rows["synthetic 512 x 4608"] = bench(synthetic(), options.repeats)
    os.environ[VARIABLE] = "0"
    peaks = memory(15_000_000)
    first = first_use() if NUMBA else ()
    if options.json:
        print(json.dumps({"rows": rows, "memory": peaks, "first_use": first}, indent=1))
        return
    print(f"{'':38} {'symbols':>10}  bytes: lanes, nb, two; Msym/s encode, decode: {', '.join(WAYS)}; above")
    for name, row in rows.items():
        sizes = " ".join(f"{row[f'{way}_bytes']:9,.0f}" for way in ("lanes", "nb", "two"))
        speeds = [" ".join(f"{row[f'{w}_{d}']:5.1f}" for w in WAYS) for d in ("encode", "decode")]
        print(
            f"{name:38} {row['symbols']:10,.0f} {sizes}  {'  '.join(speeds)}  {row['above_percent']:+.2f} %"
        )
    print(
        "memory at {symbols:,} symbols: {encode_peak:,} bytes encoding, {decode_peak:,} decoding".format(
            **peaks
        )
    )
    if first:
        print(
            "numba's import and first use in a process: {:.2f} s compiling, {:.2f} s from the cache".format(
                *first
            )
        )


def first_use() -> tuple[float, float]:
    """Returns by how many seconds the first use in a process takes longer than numpy alone, twice."""
    found = []
    with tempfile.TemporaryDirectory() as cache:
        for chosen in ("0", "1", "1"):
            settings = {**os.environ, VARIABLE: chosen, "NUMBA_CACHE_DIR": cache}
            command = [sys.executable, "-c", FIRST_USE]
            done = subprocess.run(command, env=settings, check=True, stdout=subprocess.PIPE, text=True)
            found.append(float(done.stdout))
    return found[1] - found[0], found[2] - found[0]


if __name__ == "__main__":
    main()
