"""The whole network as cells: blocks beside each other, roles below each other, the area of a cell being its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import tr

Values = NDArray[np.float64]
_Row = tuple[str, bool]
"""A role, and whether it lies outside the blocks."""
MIN_HEIGHT = 0.012
"""Of the picture's height: a norm has next to no bytes and is still to be seen and clicked."""


@dataclass(frozen=True)
class CellOfLayers:
    """A rectangle. layers: indices of the layers in it; x in blocks, y from 0 at the top to 1 at the bottom."""

    layers: tuple[int, ...]
    title: str
    x0: float
    x1: float
    y0: float
    y1: float


@dataclass(frozen=True)
class NetworkGrid:
    """Cells, the rows' names with their middles, and the depths of the blocks that stand beside each other."""

    cells: tuple[CellOfLayers, ...]
    rows: tuple[tuple[str, float], ...]
    depths: tuple[int, ...]

    @property
    def blocks(self) -> int:
        return max(1, len(self.depths))

    def cell_at(self, x: float, y: float) -> int | None:
        """The cell at a place of the picture."""
        found = (place for place, c in enumerate(self.cells) if c.x0 <= x < c.x1 and c.y0 <= y < c.y1)
        return next(found, None)


def network_grid(layers: Sequence[Layer]) -> NetworkGrid:
    """Rows by role in the checkpoint's order: what lies outside the blocks goes over the whole width."""
    rows: dict[_Row, dict[int | None, list[int]]] = {}
    for index, layer in enumerate(layers):
        rows.setdefault((layer.role, layer.depth is None), {}).setdefault(layer.depth, []).append(index)
    depths = sorted({layer.depth for layer in layers if layer.depth is not None})
    place_of = {depth: place for place, depth in enumerate(depths)}
    blocks = max(1, len(depths))
    sizes = {row: sum(layers[i].nbytes for inside in cells.values() for i in inside) for row, cells in rows.items()}
    heights = _heights(sizes)
    cells, named, top = [], [], 0.0
    for row in sorted(rows, key=lambda row: _order(rows[row])):
        role, bottom = row[0], top + heights[row]
        for depth, indices in rows[row].items():
            left, right = (0.0, float(blocks)) if depth is None else (place_of[depth], place_of[depth] + 1.0)
            title = role if depth is None else tr("block {depth} · {role}", depth=depth, role=role)
            cells.append(CellOfLayers(tuple(indices), title, left, right, top, bottom))
        named.append((role, (top + bottom) / 2))
        top = bottom
    return NetworkGrid(tuple(cells), tuple(named), tuple(depths))


def _order(cells: dict[int | None, list[int]]) -> int:
    """Rows as the checkpoint has them: embedding, what is in the blocks, head."""
    return min(indices[0] for indices in cells.values())


def _heights(sizes: dict[_Row, int]) -> dict[_Row, float]:
    """Shares of the height by bytes, none smaller than can be clicked; together 1."""
    whole = max(1, sum(sizes.values()))
    raw = {row: max(MIN_HEIGHT, size / whole) for row, size in sizes.items()}
    together = sum(raw.values()) or 1.0
    return {row: height / together for row, height in raw.items()}


def cell_values(grid: NetworkGrid, values: Values, weights: Values, *, worst: str = "") -> Values:
    """One value per cell: the mean by `weights` of what is known of its layers, or the "greatest" or "least" of them.

    values, weights: float64 [layers], NaN where nothing is known. Returns float64 [cells].
    """
    found = np.full(len(grid.cells), np.nan)
    for place, cell in enumerate(grid.cells):
        inside = np.array(cell.layers)
        known = inside[~np.isnan(values[inside])]
        if not known.size:
            continue
        if worst:
            found[place] = values[known].max() if worst == "greatest" else values[known].min()
        else:
            share = weights[known]
            found[place] = np.average(values[known], weights=share if share.sum() > 0 else None)
    return found
