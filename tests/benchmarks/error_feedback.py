"""How long error feedback takes, against its Cholesky plus one matrix product of that size, in turns in one run."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.error_feedback import error_feedback
from benchvise.core.solvers.solution import InputStatistics

GROUP_SIZE = 128
REFERENCE = "Cholesky + product"


@dataclass(frozen=True)
class Timing:
    """Seconds of one route over all rounds; ratio: the median over the rounds of its time by the reference's."""

    route: str
    median_s: float
    fastest_s: float
    slowest_s: float
    ratio: float
    ratio_of_fastest: float


@dataclass(frozen=True)
class Report:
    size: int
    bits: int
    threads: int
    timings: list[Timing]


def moments_of(size: int) -> Tensor:
    """float32 [size, size], positive definite, with columns that depend on each other."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(size + 512, size, generator=generator)
    inputs[:, 1:] += 0.5 * inputs[:, :-1]
    return inputs.T @ inputs / len(inputs)


def timed(route: Callable[[], object]) -> float:
    start = time.perf_counter()
    route()
    return time.perf_counter() - start


def measure(size: int, bits: int, rounds: int) -> Report:
    """One unmeasured round, then `rounds` in which every route runs once."""
    weight = torch.randn(size, size, generator=torch.Generator().manual_seed(1)) * 0.02
    moments = moments_of(size)
    damped = moments + 0.01 * moments.diagonal().mean() * torch.eye(size)
    scheme = Integer(bits=bits, symmetric=False, group_size=GROUP_SIZE)
    seen = InputStatistics(moments, size + 512)

    def reference() -> None:
        torch.linalg.cholesky(damped)
        torch.mm(weight, damped)

    def feedback(*, clip: bool, passes: int) -> Callable[[], object]:
        solver = ErrorFeedback(clip_search=clip, passes=passes)
        return lambda: error_feedback(weight, scheme, solver, seen, NULL_CONTEXT)

    routes: dict[str, Callable[[], object]] = {
        REFERENCE: reference,
        "error feedback": feedback(clip=False, passes=0),
        "with clip search": feedback(clip=True, passes=0),
        "with clip search and 2 passes": feedback(clip=True, passes=2),
    }
    for route in routes.values():
        route()
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds):
        for name, route in routes.items():
            seconds[name].append(timed(route))
    base = seconds[REFERENCE]
    timings = [
        Timing(
            name,
            statistics.median(times),
            min(times),
            max(times),
            statistics.median(one / against for one, against in zip(times, base, strict=True)),
            min(times) / min(base),
        )
        for name, times in seconds.items()
    ]
    return Report(size, bits, torch.get_num_threads(), timings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the float32 weight")
    parser.add_argument("--bits", type=int, choices=(2, 3, 4, 8), default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = measure(arguments.size, arguments.bits, arguments.rounds)
    if arguments.json:
        print(json.dumps(asdict(report)))
        return
    print(f"{report.size}×{report.size} float32, int{report.bits} g{GROUP_SIZE}, {report.threads} threads")
    for one in report.timings:
        print(
            f"{one.route:30} {one.median_s:7.2f} s (fastest {one.fastest_s:.2f}, slowest {one.slowest_s:.2f})   "
            f"{one.ratio:5.2f}× by medians, {one.ratio_of_fastest:5.2f}× by fastest"
        )


if __name__ == "__main__":
    main()
