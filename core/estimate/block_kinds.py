"""Which blocks and layers take equally long, so that one of each kind is tried out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from benchvise.core.estimate import layer_benchmark
from benchvise.core.estimate.block_benchmark import tried
from benchvise.core.recipe.plan import Plan, PlanRow

MAX_KINDS = 4
"""Kinds of blocks that are tried out; others are taken to be like the kind that has most in common with them."""


def rows_of_blocks(plan: Plan, inside: dict[str, int]) -> list[list[PlanRow]]:
    """What is treated in each block. inside: of each layer within blocks, by name, the block's number."""
    blocks: list[list[PlanRow]] = [[] for _ in range(max(inside.values(), default=-1) + 1)]
    for row in plan.treated_rows:
        if row.layer.name in inside:
            blocks[inside[row.layer.name]].append(row)
    return blocks


def kinds_of(plan: Plan, inside: dict[str, int]) -> dict[str, list[int]]:
    """Blocks by what makes them take equally long: the shapes of their layers, and what each layer gets."""
    described: dict[int, list[object]] = {}
    for row in plan.rows():
        index = inside.get(row.layer.name)
        if index is not None:
            name = row.layer.tensor.name.replace(f".{index}.", ".*.", 1)
            described.setdefault(index, []).append([name, row.layer.shape, row.layer.dtype, repr(tried(row))])
    kinds: dict[str, list[int]] = {}
    for index in sorted(described):
        kinds.setdefault(digest(described[index]), []).append(index)
    return kinds


def most_common(kinds: dict[str, list[int]]) -> list[list[int]]:
    """The kinds that most blocks are of, as many as are tried out."""
    return sorted(kinds.values(), key=lambda blocks: -len(blocks))[:MAX_KINDS]


def in_common(one: Sequence[PlanRow], other: Sequence[PlanRow]) -> int:
    """How many layers of two blocks have the same shape, solver and kind of scheme."""
    first, second = (
        Counter((row.layer.matrix_shape, row.treatment.solver, type(row.treatment.scheme)) for row in rows)
        for rows in (one, other)
    )
    return (first & second).total()


def layer_kind(row: PlanRow) -> str:
    """What makes layers that are solved one by one take equally long."""
    layer = layer_benchmark.piece_of(row.layer)
    return f"{layer.shape} of {row.layer.shape} {layer.dtype} {layer.transposed} {digest(repr(row.treatment))}"


def digest(*parts: object) -> str:
    """A short name for whatever can be written as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]
