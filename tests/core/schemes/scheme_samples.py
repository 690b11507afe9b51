"""Matrices in memory, layers in files, and what a scheme makes of them when it is asked as the job asks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.nearest import nearest_rows

DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}


@dataclass(frozen=True)
class InMemory:
    """A matrix that is there already, handed out in blocks of `block_rows`."""

    values: Tensor
    block_rows: int = 1 << 30

    @property
    def rows(self) -> int:
        return self.values.shape[0]

    @property
    def columns(self) -> int:
        return self.values.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, self.rows, self.block_rows):
            yield start, self.values[start : start + self.block_rows]


@dataclass(frozen=True)
class Solved:
    """All that came of one matrix: `stored` whole, and `decoded` as the blocks said it."""

    stored: dict[str, Tensor]
    decoded: Tensor


def solve(
    values: Tensor,
    scheme: Scheme,
    solver: Nearest | None = None,
    *,
    block_rows: int = 1 << 30,
    shared: Shared | None = None,
) -> Solved:
    rows, arithmetic = nearest_rows(InMemory(values, block_rows), scheme, solver or Nearest(), shared, NULL_CONTEXT)
    parts = list(rows)
    stored = {name: torch.cat([part.stored[name] for part in parts]) for name in parts[0].stored}
    return Solved(stored | arithmetic.tail(), torch.cat([part.decoded for part in parts]))


def weights(rows: int, columns: int, dtype: str, *, seed: int = 0) -> Tensor:
    """Bell-shaped weights off centre, with some outliers and zeros."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=generator, dtype=torch.float64) * 0.02 + 0.003
    values.view(-1)[:: max(7, columns)] *= 9
    values.view(-1)[3::11] = 0
    return values.to(DTYPES[dtype])


def layer_in_file(folder: Path, name: str, values: Tensor) -> Layer:
    """The layer that a checkpoint of this one tensor has."""
    save_file({name: values.contiguous()}, folder / "model.safetensors")
    (only,) = open_checkpoint(folder).layers
    return only
