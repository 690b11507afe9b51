"""How fast the CPU multiplies by compressed weights, against dense float32 and bfloat16 in the same run.

The routes take turns within each round, so that whatever else the machine does falls on all of them equally.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchvise.core.kernels.quantise import quantise_pack
from benchvise.core.kernels.select import prepare_linear

CPU = torch.device("cpu")
# Bits and group size of the compressed weights; 0: one group a row.
TREATMENTS = ((4, 128), (4, 32), (3, 128), (8, 0), (8, 128))
Multiply = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Timing:
    """One way at one number of tokens. Ratios: the dense way's median over this one's."""

    weight: str
    route: str
    weight_bytes: int
    tokens: int
    median_ms: float
    fastest_ms: float
    over_dense_float32: float
    over_dense_bfloat16: float


@dataclass(frozen=True)
class Way:
    """A weight in one form, with its multiplication."""

    weight: str
    route: str
    weight_bytes: int
    multiply: Multiply


def ways(rows: int, cols: int) -> list[Way]:
    """The dense weight in both dtypes, then the compressed forms."""
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(0))
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        dense = weight.to(dtype)
        made.append(Way(f"dense {dtype}".replace("torch.", ""), "torch linear", dense.nbytes, _dense(dense)))
    for bits, group_size in TREATMENTS:
        packed = quantise_pack(
            weight, bits=bits, group_size=group_size or cols, symmetric=True, scale_dtype=torch.bfloat16
        )
        linear = prepare_linear(packed, bits, cols, torch.bfloat16, CPU)
        name = f"int{bits} " + (f"g{group_size}" if group_size else "channel")
        made.append(Way(name, linear.route.kind.value, linear.nbytes, linear))
    return made


def _dense(weight: Tensor) -> Multiply:
    return lambda x: torch.nn.functional.linear(x.to(weight.dtype), weight)


def measure(compared: list[Way], tokens: int, cols: int, rounds: int) -> list[Timing]:
    """Two unmeasured rounds, then `rounds` in which each way runs once on the same bfloat16 inputs."""
    x = torch.randn(tokens, cols, generator=torch.Generator().manual_seed(tokens)).to(torch.bfloat16)
    seconds: list[list[float]] = [[] for _ in compared]
    for index in range(rounds + 2):
        for way, times in zip(compared, seconds, strict=True):
            start = time.perf_counter()
            way.multiply(x)
            if index > 1:
                times.append(time.perf_counter() - start)
    medians = [statistics.median(times) for times in seconds]
    return [
        Timing(
            way.weight,
            way.route,
            way.weight_bytes,
            tokens,
            median * 1e3,
            min(times) * 1e3,
            medians[0] / median,
            medians[1] / median,
        )
        for way, times, median in zip(compared, seconds, medians, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--cols", type=int, default=4096)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    compared = ways(arguments.rows, arguments.cols)
    timings = [
        timing for tokens in arguments.tokens for timing in measure(compared, tokens, arguments.cols, arguments.rounds)
    ]
    if arguments.json:
        print(json.dumps([asdict(timing) for timing in timings]))
        return
    for timing in timings:
        print(
            f"{timing.tokens:4} tokens  {timing.weight:14} {timing.weight_bytes / 2**20:6.1f} MiB "
            f"{timing.median_ms:8.2f} ms (fastest {timing.fastest_ms:.2f})  "
            f"{timing.over_dense_float32:5.2f}× float32 {timing.over_dense_bfloat16:5.2f}× bfloat16   {timing.route}"
        )


if __name__ == "__main__":
    main()
