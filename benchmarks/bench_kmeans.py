"""1-D k-means: time and inertia of every initialisation beside scikit-learn's KMeans and kmeans1d (exact).

    python benchmarks/bench_kmeans.py [--n 1000000] [--k 32] [--seed 0] [--repeats 3] [--json]

One thread, the same values for all: a Gaussian mixture in float32 shaped like a trained layer (a narrow bulk,
wider flanks, a few outliers). `ratio` is inertia / exact optimum. kmeans1d takes about 13 s at 10^6 values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

# Before numpy and torch start their thread pools.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import kmeans1d
import numpy as np
import torch
from sklearn.cluster import KMeans

from pithnet.tensor import kmeans_1d
from pithnet.tensor.clustering._inits import INITS


def weight_like(n: int, seed: int) -> torch.Tensor:
    """Draws values (n,), float32: 70 % N(0, 0.02), 28 % N(0, 0.06), 2 % N(0, 0.2)."""
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.02, 0.06, 0.2], size=n, p=[0.70, 0.28, 0.02])
    return torch.from_numpy((rng.standard_normal(n) * scale).astype(np.float32))


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Returns the last result and the median of the wall times in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, float(np.median(times))


def rows(values: torch.Tensor, k: int, seed: int, repeats: int) -> list[dict[str, Any]]:
    """Returns a row per method: name, seconds, inertia, iterations, ratio to the exact optimum, speed-up."""
    table: list[dict[str, Any]] = []
    array = values.numpy()
    for init in INITS:
        found, seconds = timed(
            lambda init=init: kmeans_1d(values, k, init, torch.Generator().manual_seed(seed)), repeats
        )
        table.append(
            {"method": init, "seconds": seconds, "inertia": found.inertia, "iterations": found.iterations}
        )
    peer, seconds = timed(lambda: KMeans(k, n_init=1, random_state=seed).fit(array[:, None]), 1)
    table.append(
        {
            "method": "scikit-learn",
            "seconds": seconds,
            "inertia": float(peer.inertia_),
            "iterations": peer.n_iter_,
        }
    )
    exact, seconds = timed(lambda: kmeans1d.cluster(array, k), 1)
    residual = array.astype(np.float64) - np.array(exact.centroids)[np.array(exact.clusters)]
    optimum = float(residual @ residual)
    table.append({"method": "kmeans1d", "seconds": seconds, "inertia": optimum, "iterations": 0})
    for row in table:
        row["ratio"] = row["inertia"] / optimum
        row["times_faster_than_kmeans1d"] = seconds / row["seconds"]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = rows(weight_like(options.n, options.seed), options.k, options.seed, options.repeats)
    if options.json:
        print(
            json.dumps(
                {**vars(options), "machine": platform.processor() or platform.machine(), "rows": table}
            )
        )
        return
    print(f"{'method':14} {'seconds':>9} {'ratio':>10} {'iterations':>10} {'x kmeans1d':>10}")
    for row in table:
        print(
            f"{row['method']:14} {row['seconds']:9.4f} {row['ratio']:10.6f} {row['iterations']:10d} "
            f"{row['times_faster_than_kmeans1d']:10.1f}"
        )


if __name__ == "__main__":
    main()
