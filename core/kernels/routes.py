"""The ways in which weights can be quantised and packed, and the choice between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from benchvise.core.kernels.availability import cxx_compiler, triton_available

# What compiling saves and costs, measured on two cores of an AVX-512 server chip with torch 2.13: about 0.1 ns a weight
# against the eager route, and 8 to 18 s in every process (import, two or three loops; longer on a machine's first time,
# when torch probes the processor). Below this amount of work the eager route is done before the compiler is.
COMPILING_PAYS_WEIGHTS = 100_000_000_000

# Groups whose scales the CPU's int4 kernel can apply, longest first: fewer scales are read.
INT4_CPU_GROUPS = (256, 128, 64, 32)

# What the Triton kernel reads; float64 is rare enough to take the slower way.
TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class RouteKind(Enum):
    """A way of computing the same codes."""

    EAGER_CHUNKED = "eager chunked"
    COMPILED = "compiled"
    TRITON = "triton"


@dataclass(frozen=True)
class Route:
    """A chosen way and, as a sentence for people, the reason."""

    kind: RouteKind
    why: str


def choose_route(weight: Tensor, amount_of_work_weights: int) -> Route:
    """The fastest way for `weight` when `amount_of_work_weights` weights, it among them, are quantised in this process.

    All ways give the same bits; they differ in time alone.
    """
    device = weight.device
    if device.type == "cuda" and triton_available():
        if weight.dtype in TRITON_DTYPES:
            return Route(RouteKind.TRITON, "the weights are on a GPU for which Triton compiles")
        return Route(RouteKind.EAGER_CHUNKED, f"the GPU kernel takes no {weight.dtype} weights")
    if device.type != "cpu":
        return Route(RouteKind.EAGER_CHUNKED, f"there is no kernel for {device.type} without Triton")
    if amount_of_work_weights < COMPILING_PAYS_WEIGHTS:
        why = (
            f"{amount_of_work_weights:,} weights are done before a compiler is; it pays from {COMPILING_PAYS_WEIGHTS:,}"
        )
        return Route(RouteKind.EAGER_CHUNKED, why)
    compiler = cxx_compiler()
    if compiler is None:
        return Route(RouteKind.EAGER_CHUNKED, "there is no C++ compiler on this machine")
    return Route(RouteKind.COMPILED, f"{amount_of_work_weights:,} weights outweigh the time that {compiler} takes")
