"""How weights are grouped under scales: sizes that divide a row, and words that hold its codes."""

from __future__ import annotations

import sys
from functools import lru_cache

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError

ALL = sys.maxsize
"""Rows or columns of a cell that reaches over the whole matrix."""

KERNEL_GROUPS = (256, 128, 64, 32)
"""Groups whose scales kernels apply as they multiply, longest first: fewer scales are read. Those of torch for CPUs,
and all that other runtimes know."""


def cells(shape: tuple[int, int], cell: tuple[int, int]) -> tuple[int, int]:
    """How many cells of rows by columns a matrix of this shape has, the last of each row and column maybe smaller."""
    return -(-shape[0] // cell[0]), -(-shape[1] // cell[1])


def words(codes: int, bits: int) -> int:
    """int32 words that hold `codes` codes of `bits` bits as one dense bit stream."""
    return -(-codes * bits // 32)


def fit_group(layer: Layer, group_size: int, *, refuse: bool, kernels: bool = False) -> tuple[int, tuple[str, ...]]:
    """A group size that divides the layer's inputs (all of them: one scale per channel), and plan warnings as phrases.

    kernels: whether there are kernels for some group sizes, of which one is taken then.
    Raises RecipeError with sizes that would do when `group_size` does not divide and `refuse` is set.
    """
    columns = layer.matrix_shape[1]
    if columns % group_size == 0:
        return group_size, ()
    if refuse:
        sizes = [size for size in divisors(columns) if 8 <= size < columns][-6:]
        other = f"group_size {' or '.join(map(str, sizes))}, " if sizes else ""
        raise RecipeError(
            f"The group size {group_size} does not divide the {columns} inputs of '{layer.name}' "
            f"(shape {list(layer.shape)})",
            where=layer.name,
            remedy=f"Use {other}granularity channel, or 'indivisible: divisor' to fall back.",
        )
    served = kernels and group_size >= KERNEL_GROUPS[-1]
    divisor = kernel_divisor(columns, group_size) if served else nearest_divisor(columns, group_size)
    if divisor == columns:
        note = f"one scale per channel, as the group size {group_size} does not divide {columns} inputs"
    else:
        note = f"group size {divisor} instead of {group_size}, which does not divide {columns} inputs"
    return divisor, (note,)


def kernel_divisor(columns: int, group_size: int) -> int:
    """The longest group, at most `group_size`, that divides `columns` and that kernels take; without one all columns,
    which kernels take as well."""
    return next((size for size in KERNEL_GROUPS if size <= group_size and columns % size == 0), columns)


def nearest_divisor(columns: int, group_size: int) -> int:
    """The divisor of `columns` whose ratio to `group_size` is nearest to 1; of two equally near the smaller."""
    return min(divisors(columns), key=lambda d: max(d, group_size) / min(d, group_size))


@lru_cache(maxsize=1024)  # a plan asks for every layer, and few layers differ
def divisors(columns: int) -> tuple[int, ...]:
    """The divisors of `columns`, ascending. Without 1: a scale for every weight takes more than the weight."""
    return tuple(d for d in range(2, columns + 1) if columns % d == 0) or (columns,)
