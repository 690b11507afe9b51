"""The ways in which weights can be quantised and packed, and the choice between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from torch import Tensor


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
    """The fastest way for `weight` when `amount_of_work_weights` weights like it will be quantised in this process."""
    return Route(RouteKind.EAGER_CHUNKED, f"{amount_of_work_weights} weights on {weight.device.type}")
