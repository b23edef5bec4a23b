"""Huffman coding of 1e7 symbols with 16 skewed levels: symbols per second of one thread, against dahuffman.

    python benchmarks/bench_huffman.py [--symbols N] [--peer-symbols N] [--repeats N] [--json]

Times are medians of CPU seconds (process_time), which other programs on the machine disturb less than the
clock. The peer is pure Python and gets fewer symbols of the same distribution. Both decode what they encoded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from dahuffman import HuffmanCodec

from pithnet.coding import average_length, decode_symbols, encode_symbols, entropy_bits
from pithnet.coding.prefix import code_lengths


def skewed_symbols(size: int, levels: int = 16) -> np.ndarray:
    """Draws geometric levels: each is three quarters as likely as the one before (3.2 bits of entropy)."""
    p = 0.75 ** np.arange(levels)
    return np.random.default_rng(0).choice(levels, size, p=p / p.sum()).astype(np.uint8)


def median_seconds(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def bench_pithnet(symbols: np.ndarray, repeats: int) -> dict[str, float]:
    encode, (_, data) = median_seconds(lambda: encode_symbols(symbols, "huffman"), repeats)
    decode, decoded = median_seconds(lambda: decode_symbols("huffman", data, symbols.size), repeats)
    assert np.array_equal(decoded, symbols)
    return _row(symbols.size, encode, decode, len(data))


def bench_dahuffman(symbols: np.ndarray, repeats: int) -> dict[str, float]:
    values = symbols.tolist()
    codec = HuffmanCodec.from_frequencies(dict(enumerate(np.bincount(symbols).tolist())))
    encode, data = median_seconds(lambda: codec.encode(values), repeats)
    decode, decoded = median_seconds(lambda: codec.decode(data), repeats)
    assert decoded == values
    return _row(symbols.size, encode, decode, len(data))


def _row(size: int, encode: float, decode: float, stored: int) -> dict[str, float]:
    speeds = {"encode_msym_s": size / encode / 1e6, "decode_msym_s": size / decode / 1e6}
    return {"symbols": size, **speeds, "bits_per_symbol": 8 * stored / size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=10_000_000)
    parser.add_argument("--peer-symbols", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    symbols = skewed_symbols(args.symbols)
    counts = np.bincount(symbols)
    ours = bench_pithnet(symbols, args.repeats)
    peer = bench_dahuffman(symbols[: args.peer_symbols], args.repeats)
    ratio = {key: ours[key] / peer[key] for key in ("encode_msym_s", "decode_msym_s")}
    result = {
        "pithnet": ours,
        "dahuffman": peer,
        "ratio": ratio,
        "entropy_bits": entropy_bits(counts),
        "huffman_bits": average_length(counts, code_lengths(counts)),
    }
    if args.json:
        print(json.dumps(result))
        return
    print(f"{'':12}{'symbols':>12}{'encode Msym/s':>16}{'decode Msym/s':>16}{'bits/symbol':>14}")
    for name, row in (("pithnet", ours), ("dahuffman", peer)):
        speeds = f"{row['encode_msym_s']:>16.1f}{row['decode_msym_s']:>16.1f}"
        print(f"{name:12}{row['symbols']:>12,}{speeds}{row['bits_per_symbol']:>14.4f}")
    print(f"{'ratio':12}{'':12}{ratio['encode_msym_s']:>16.1f}{ratio['decode_msym_s']:>16.1f}")
    print(f"entropy {result['entropy_bits']:.4f}, unlimited Huffman {result['huffman_bits']:.4f} bits/symbol")


if __name__ == "__main__":
    main()
