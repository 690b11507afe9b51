"""The arithmetic of vector code books."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.methods.vector_codebook import VectorCodebook
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.schemes.vector_grid import VectorGrid, parted, sums_of, unpack_planes


class VectorCodebookArithmetic(SchemeArithmetic[VectorCodebook]):
    """The whole matrix is read once, as its rows share the books; its rows are then handed out."""

    scheme = VectorCodebook

    def fit(self) -> None:
        matrix = self.matrix
        values = torch.cat([block.float().cpu() for _, block in matrix.blocks()])
        grid = VectorGrid(self.settings, matrix.rows, matrix.columns, matrix.dtype)
        grid.progress = self.progress
        grid.fit(0, values)
        self._stored = grid.stored(grid.encode(0, values))

    def project(self, start: int, block: Tensor) -> SolvedRows:
        stop = start + len(block)
        packed = {"weight_packed": self._stored["weight_packed"][start:stop]}
        decoded = self.decode(self.settings, self._stored | packed, start, stop, self.matrix.columns)
        return SolvedRows(start, block, packed, decoded.to(block.device, block.dtype))

    def tail(self) -> dict[str, Tensor]:
        return {name: self._stored[name] for name in ("weight_scale", "weight_codebook")}

    @classmethod
    def decode(
        cls, settings: VectorCodebook, stored: Mapping[str, Tensor], start: int, stop: int, columns: int
    ) -> Tensor:
        indices = parted(unpack_planes(stored["weight_packed"], columns // settings.dimension, settings), settings)
        scale, books = stored["weight_scale"], stored["weight_codebook"]
        return _weight(indices, scale[start:stop].float(), books.float()).to(scale.dtype)

    @classmethod
    def grid(
        cls,
        settings: VectorCodebook,
        rows: int,
        columns: int,
        dtype: torch.dtype,
        *,
        clip: ClipSearch | None = None,  # noqa: ARG003 - there is no scale that a search could shrink
    ) -> Grid:
        return VectorGrid(settings, rows, columns, dtype)

    @classmethod
    def tunable(cls, settings: VectorCodebook, stored: Mapping[str, Tensor], columns: int) -> Tunable:
        indices = parted(unpack_planes(stored["weight_packed"], columns // settings.dimension, settings), settings)
        parameters = {name: stored[name].float() for name in ("weight_scale", "weight_codebook")}
        return Tunable(parameters, lambda p: _weight(indices, p["weight_scale"], p["weight_codebook"]))


def _weight(indices: Tensor, scale: Tensor, books: Tensor) -> Tensor:
    """The weight [rows, columns] of indices [rows, vectors, books], differentiable in scales and books.

    scale: [rows, groups]; books: [groups, books, vectors, dimension].
    """
    parts = indices.chunk(len(books), 1)
    return torch.cat([sums_of(part, books[at]) * scale[:, at, None] for at, part in enumerate(parts)], 1)
