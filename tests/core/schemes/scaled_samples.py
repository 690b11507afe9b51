"""Settings of every scheme of elements times scales, and an oracle that knows nothing of tables or torch's casts."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchvise.core.methods.floating import Floating
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import settled

FLOATS = [
    Floating(number=number, granularity=where, block_rows=rows, block_columns=columns, scales=scales)  # type: ignore[arg-type]
    for number, (where, rows, columns), scales in product(
        ("e4m3", "e5m2"),
        (("tensor", 128, 128), ("channel", 128, 128), ("block", 4, 16), ("block", 3, 7), ("block", 128, 128)),
        ("float32", "weight"),
    )
]
BLOCKS: list[Scheme] = [
    *(Microscaling(number=number, indivisible="pad") for number in ("e2m1", "e4m3", "e5m2")),  # type: ignore[arg-type]
    NvFloat4(indivisible="pad"),
]
CURVES = [
    settled(
        NonLinear(
            curve=curve,  # type: ignore[arg-type]
            bits=bits,
            half_steps=half,
            granularity=where,  # type: ignore[arg-type]
            group_size=8,
            rounding=rounding,  # type: ignore[arg-type]
            indivisible="divisor",
        )
    )
    for (curve, half), (bits, where, rounding) in product(
        (("tanh", False), ("sigmoid", False), ("logarithmic", False), ("logarithmic", True)),
        (
            *((bits, "group", "nearest") for bits in range(2, 9)),
            (4, "tensor", "nearest"),
            (3, "channel", "nearest"),
            (3, "group", "curve"),
            (8, "channel", "curve"),
        ),
    )
]
SCALED: list[Scheme] = [*FLOATS, *BLOCKS, *CURVES]
SOME: list[Scheme] = [*FLOATS[::3], *BLOCKS, *CURVES[2::7]]
"""One of each kind, for what is tried with many weights."""


def name_of(scheme: Scheme) -> str:
    return scheme.tag.replace(" ", "-")


def float_values(exponent_bits: int, mantissa_bits: int, *, top: str) -> list[float]:
    """All finite values of a small float, ascending, from the definition of its bits.

    top: what the greatest exponent means: "numbers", "one nan" (its greatest mantissa) or "ieee" (infinity and NaN).
    """
    bias = (1 << (exponent_bits - 1)) - 1
    found = set()
    for exponent, mantissa in product(range(1 << exponent_bits), range(1 << mantissa_bits)):
        last = exponent == (1 << exponent_bits) - 1
        if last and (top == "ieee" or (top == "one nan" and mantissa == (1 << mantissa_bits) - 1)):
            continue
        fraction = mantissa / (1 << mantissa_bits)
        power = max(exponent, 1) - bias
        found.add(math.ldexp(fraction + (1 if exponent else 0), power))
    return sorted({-value for value in found} | found)


E2M1 = float_values(2, 1, top="numbers")
E4M3 = float_values(4, 3, top="one nan")
E5M2 = float_values(5, 2, top="ieee")


def curve_levels(scheme: NonLinear) -> list[float]:
    """The levels of a non-linear grid of scale 1, from the formulas."""
    if scheme.curve == "logarithmic":
        step = 0.5 if scheme.half_steps else 1.0
        above = [2 ** (-step * j) for j in range(1 << (scheme.bits - 1))]
        return sorted([*above, *(-level for level in above)])
    last = (1 << scheme.bits) - 1
    probabilities = [code / last for code in range(last + 1)]
    probabilities[0], probabilities[-1] = 0.25 / last, 1 - 0.25 / last
    logits = [math.log(p / (1 - p)) for p in probabilities]
    return logits if scheme.curve == "sigmoid" else [logit / 2 for logit in logits]


def levels_of(scheme: Scheme) -> list[float]:
    if isinstance(scheme, NonLinear):
        return curve_levels(scheme)
    number = getattr(scheme, "number", "e2m1")
    return {"e2m1": E2M1, "e4m3": E4M3, "e5m2": E5M2}[number]


def nearest_by_looking(
    values: NDArray[np.float32], levels: list[float], steps: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Distance of each value to the nearest of all levels times its step, in double precision."""
    grid = np.array(levels)[:, None, None] * steps.astype(np.float64)
    least: NDArray[np.float64] = np.abs(values.astype(np.float64) - grid).min(0)
    return least


def full_steps(scheme: Scheme, steps: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """The step of each weight, cell by cell."""
    full = np.empty((rows, columns), np.float32)
    high, wide = scheme.cell  # type: ignore[attr-defined]
    for row, column in np.ndindex(rows, columns):
        full[row, column] = steps[row // high, column // wide]
    return full
