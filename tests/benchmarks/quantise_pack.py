"""How fast nearest quantisation with packing is, against whole-tensor eager torch in the same run, with equal codes.

The routes take turns within each round, so that whatever else the machine does falls on all of them equally.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchvise.core.kernels.quantise import Packed, quantise_pack
from benchvise.core.kernels.routes import Route, RouteKind

BASELINE = "whole tensor, eager"
GROUP_SIZE = 128
COLS = 4096


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one route over all rounds; ratio: the baseline's median over this one's."""

    route: str
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    ratio: float
    ratio_of_fastest: float


@dataclass(frozen=True)
class Report:
    """What was measured."""

    weights: int
    bits: int
    threads: int
    timings: list[Timing]


def whole_tensor(weight: Tensor, bits: int) -> Packed:
    """The same codes as a person would first write them down: symmetric, groups of 128, words of 32 bits."""
    half = 2 ** (bits - 1)
    groups = weight.float().view(weight.shape[0], -1, GROUP_SIZE)
    limits = torch.finfo(weight.dtype)
    scale = groups.abs().amax(dim=-1, keepdim=True) / ((2**bits - 1) / 2)
    scale = scale.clamp(limits.tiny, limits.max).to(weight.dtype)
    codes = torch.clamp(torch.round(groups / scale.float()), -half, half - 1) + half
    fields = codes.to(torch.int32).view(weight.shape[0], -1, 32 // bits)
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return Packed((fields << shifts).sum(dim=-1, dtype=torch.int32), scale.squeeze(-1), None)


def ours(weight: Tensor, bits: int, kind: RouteKind) -> Packed:
    """One of the program's own routes."""
    return quantise_pack(
        weight,
        bits=bits,
        group_size=GROUP_SIZE,
        symmetric=True,
        scale_dtype=weight.dtype,
        route=Route(kind, "asked for by the benchmark"),
    )


def timed(route: Callable[[], Packed]) -> tuple[float, Packed]:
    """Seconds of one call, and what it made."""
    start = time.perf_counter()
    result = route()
    return time.perf_counter() - start, result


def measure(weight: Tensor, bits: int, rounds: int) -> Report:
    """One unmeasured round whose results must be equal, then `rounds` in which each route runs once."""
    routes = {
        BASELINE: functools.partial(whole_tensor, weight, bits),
        "eager, chunked": functools.partial(ours, weight, bits, RouteKind.EAGER_CHUNKED),
    }
    expected = routes[BASELINE]()
    for name, route in routes.items():
        result = route()
        if not torch.equal(result.packed, expected.packed) or not torch.equal(result.scale, expected.scale):
            raise SystemExit(f"{name} gives other codes than {BASELINE}")
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds):
        for name, route in routes.items():
            seconds[name].append(timed(route)[0])
    base = seconds[BASELINE]
    timings = [
        Timing(
            name,
            statistics.median(times) * 1e3,
            min(times) * 1e3,
            max(times) * 1e3,
            statistics.median(base) / statistics.median(times),
            min(base) / min(times),
        )
        for name, times in seconds.items()
    ]
    return Report(weight.numel(), bits, torch.get_num_threads(), timings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=11008, help=f"rows of {COLS} bfloat16 weights")
    parser.add_argument("--bits", type=int, choices=(2, 4, 8), default=4)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weight = torch.randn(arguments.rows, COLS, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    report = measure(weight, arguments.bits, arguments.rounds)
    if arguments.json:
        print(json.dumps(asdict(report)))
        return
    print(f"{report.weights:,} bfloat16 weights, int{report.bits} g{GROUP_SIZE}, {report.threads} threads, codes equal")
    for timing in report.timings:
        print(
            f"{timing.route:22} {timing.median_ms:8.1f} ms (fastest {timing.fastest_ms:.1f}, slowest "
            f"{timing.slowest_ms:.1f})   {timing.ratio:5.1f}× by medians, {timing.ratio_of_fastest:5.1f}× by fastest"
        )


if __name__ == "__main__":
    main()
