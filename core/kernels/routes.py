"""The ways in which weights can be quantised and packed, and the choice between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from benchvise.core.kernels.availability import triton_available

# What the Triton kernel reads; float64 is rare enough to take the slower way.
TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class RouteKind(Enum):
    """A way of computing the same codes."""

    EAGER_CHUNKED = "eager chunked"
    TRITON = "triton"


@dataclass(frozen=True)
class Route:
    """A chosen way and, as a sentence for people, the reason."""

    kind: RouteKind
    why: str


def choose_route(weight: Tensor) -> Route:
    """The fastest way to quantise `weight` [rows, cols] of any floating dtype on its device.

    All ways give the same bits; they differ in time alone.
    """
    device = weight.device
    if device.type == "cpu":
        return Route(RouteKind.EAGER_CHUNKED, "blocks of rows stay in the processor's cache")
    if device.type != "cuda" or not triton_available():
        return Route(RouteKind.EAGER_CHUNKED, f"there is no kernel for {device.type} without Triton")
    if weight.dtype not in TRITON_DTYPES:
        return Route(RouteKind.EAGER_CHUNKED, f"the GPU kernel takes no {weight.dtype} weights")
    return Route(RouteKind.TRITON, "the weights are on a GPU for which Triton compiles")
