"""How fast the exact histogram of bfloat16 values is, against torch's ways of counting, in the same run.

The routes take turns within each round, so that whatever else the machine does falls on all of them equally.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchvise.core.analysis.histogram import histogram_of
from benchvise.core.analysis.source import ArraySource, usable_cores
from benchvise.core.analysis.statistics import look
from benchvise.core.progress import NullProgress

BINS = 512


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one route over all rounds, and what the median means in values per second."""

    route: str
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    values_per_s: float


def routes(values: torch.Tensor, threads: int) -> dict[str, Callable[[], object]]:
    """What is compared; `values` is bfloat16 [n]."""
    patterns = values.view(torch.uint16)
    stored = ArraySource(patterns.numpy(), "bfloat16")
    silent = NullProgress()
    return {
        "exact histogram": lambda: histogram_of(stored, BINS, progress=silent, threads=threads),
        "exact histogram and statistics": lambda: look(stored, BINS, progress=silent, threads=threads),
        "torch.histc": lambda: torch.histc(values, BINS),
        "torch.histc in float32": lambda: torch.histc(values.float(), BINS),
        "torch.bincount of patterns": lambda: torch.bincount(patterns.int(), minlength=65536),
    }


def measure(compared: dict[str, Callable[[], object]], rounds: int, size: int) -> list[Timing]:
    """One unmeasured round, then `rounds` in which each route runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for index in range(rounds + 1):
        for name, route in compared.items():
            start = time.perf_counter()
            route()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return [
        Timing(name, statistics.median(s) * 1e3, min(s) * 1e3, max(s) * 1e3, size / statistics.median(s))
        for name, s in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=45_000_000, help="how many bfloat16 values")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=min(2, usable_cores()), help="for every route")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numbers = np.random.default_rng(0).standard_normal(options.values, dtype=np.float32) * 0.02
    values = torch.from_numpy(numbers).to(torch.bfloat16)
    del numbers
    timings = measure(routes(values, options.threads), options.rounds, options.values)
    by_route = {timing.route: timing for timing in timings}
    speedup = by_route["torch.histc"].median_ms / by_route["exact histogram"].median_ms
    if options.json:
        record = {"values": options.values, "threads": options.threads, "load": os.getloadavg()[0]}
        print(json.dumps({**record, "times_histc": speedup, "routes": [asdict(timing) for timing in timings]}))
        return
    print(f"{options.values:,} bfloat16 values, {BINS} bins, {options.threads} threads, {options.rounds} rounds")
    for t in timings:
        spread = f"{t.fastest_ms:.1f} to {t.slowest_ms:.1f}"
        print(f"{t.route:32} {t.median_ms:8.1f} ms ({spread}) {t.values_per_s / 1e9:6.2f} G values/s")
    print(f"{speedup:.1f} times torch.histc")


if __name__ == "__main__":
    main()
