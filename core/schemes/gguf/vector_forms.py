"""What the types of vectors compute: ŵ = scale · unit · (½ + integer) · vector, and how the nearest vector is found.

The tables of vectors are those of the package `gguf`, which are ggml's (MIT licence).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from benchvise.core.methods.gguf import TYPES, GgufName

DELTA = 0.125
"""By which all weights of a vector of IQ1 are moved, up or down. Source: ggml, IQ1S_DELTA."""

_CHUNK_SCORES = 1 << 20


@dataclass(frozen=True)
class VectorForm:
    """A type of vectors; all its blocks are 256 weights.

    size:       weights of a sub-block, which share an integer.
    step:       weights of a code.
    dimension:  weights of a vector of the table; `step` or half of it.
    index_bits: of a vector's place in the table.
    signs:      "even": 7 bits for 8 weights, an even number of which is negative; "free": a bit each; "": none, and
                vectors are moved by `DELTA`.
    shifts:     which way vectors are moved: all of a "sub-block", or each "vector"; "" for not at all.
    unit:       see above. greatest: of the integers, whose least is 0.
    """

    name: GgufName
    size: int
    step: int
    dimension: int
    index_bits: int
    signs: Literal["even", "free", ""]
    unit: float
    greatest: int
    shifts: Literal["sub-block", "vector", ""] = ""

    @property
    def weights(self) -> int:
        """Of a block."""
        return TYPES[self.name].weights

    @property
    def largest(self) -> float:
        """The largest magnitude in a vector."""
        return float(self.table.abs().max()) + (DELTA if self.shifts else 0.0)

    @property
    def table(self) -> Tensor:
        """float32 [vectors, dimension], magnitudes where there are signs."""
        return _table(self.name)

    @property
    def _sign_shift(self) -> int:
        return self.index_bits * (self.step // self.dimension)

    def encode(self, positions: Tensor, weights: Tensor | None) -> Tensor:
        """Codes int64 [rows, n] of vectors near to `positions` [rows, n, step], which are float32 and in steps.

        weights: [n, step], of the squared errors; None: 1 throughout. Of vectors that a sub-block moves, positions are
        to be moved before.
        """
        rows, count = positions.shape[:2]
        parts = self.step // self.dimension
        signs = None
        if self.signs:
            positions, signs = self._magnitudes(positions, weights)
        vectors = positions.reshape(rows, count * parts, self.dimension)
        spread = None if weights is None else weights.reshape(count * parts, self.dimension)
        indices = nearest_in(vectors, _searched_table(self.name), spread).view(rows, count, parts)
        codes = indices[..., 0]
        for part in range(1, parts):
            codes = codes | (indices[..., part] << (part * self.index_bits))
        return codes if signs is None else codes | (signs << self._sign_shift)

    def decode(self, codes: Tensor) -> Tensor:
        """float32 [..., step] of codes int64 [...]; of vectors that a sub-block moves, before that."""
        table, parts = self.table, self.step // self.dimension
        mask = (1 << self.index_bits) - 1
        found = torch.cat([table[(codes >> (part * self.index_bits)) & mask] for part in range(parts)], -1)
        if self.shifts == "vector":
            return found + (DELTA - 2 * DELTA * (codes >> self.index_bits).float())[..., None]
        if not self.signs:
            return found
        signs = codes >> self._sign_shift
        bits = (signs[..., None] >> torch.arange(self.step, device=codes.device)) & 1
        if self.signs == "even":
            bits[..., -1] = bits[..., :-1].sum(-1) & 1
        return found * (1 - 2 * bits).float()

    def _magnitudes(self, positions: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Positions without their signs, and the signs int64 [rows, n], the first weight's in the lowest bit.

        Where the number of negative weights is odd and may not be, the one that it costs least turns its sign; its
        magnitude is negative then.
        """
        negative = positions < 0
        found = positions.abs()
        if self.signs == "even":
            odd = (negative.sum(-1) & 1).bool()
            cost = found if weights is None else found * weights
            turned = torch.nn.functional.one_hot(cost.argmin(-1), self.step).bool() & odd[..., None]
            negative = negative ^ turned
            found = torch.where(turned, -found, found)
        kept = negative[..., :-1] if self.signs == "even" else negative
        return found, (kept.long() << torch.arange(kept.shape[-1], device=positions.device)).sum(-1)


def nearest_in(vectors: Tensor, table: Tensor, weights: Tensor | None) -> Tensor:
    """int64 [rows, n]: the places in `table` [count, d] of least Σ w (v − c)², for vectors float32 [rows, n, d].

    weights: [n, d]; None: 1 throughout.
    """
    rows, count, dimension = vectors.shape
    if weights is None:
        flat = _nearest(vectors.reshape(-1, dimension), table, table.square().sum(1) * 0.5)
        return flat.view(rows, count)
    found = torch.empty((count, rows), dtype=torch.int64, device=vectors.device)
    offsets = (table.square() @ weights.T * 0.5).T
    for place in range(count):
        found[place] = _nearest(vectors[:, place] * weights[place], table, offsets[place])
    return found.T


def _nearest(vectors: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    step = max(1, _CHUNK_SCORES // len(table))
    parts = [
        torch.addmm(offset, vectors[start : start + step], table.T, alpha=-1.0).argmin(1)
        for start in range(0, len(vectors), step)
    ]
    return torch.cat(parts)


@lru_cache(maxsize=16)
def _table(name: GgufName) -> Tensor:
    from gguf import quants

    kind = getattr(quants, TYPES[name].title)
    kind.init_grid()
    return torch.from_numpy(kind.grid.reshape(kind.grid_shape).copy()).float()


@lru_cache(maxsize=16)
def _searched_table(name: GgufName) -> Tensor:
    """The table that codes count in: of IQ1_M, whose vectors move one by one, the vectors moved up, then down."""
    table = _table(name)
    return torch.cat([table + DELTA, table - DELTA]) if VECTOR_FORMS[name].shifts == "vector" else table


VECTOR_FORMS: dict[GgufName, VectorForm] = {
    form.name: form
    for form in (
        VectorForm("iq3_s", 32, 4, 4, 9, "free", 2.0, 15),
        VectorForm("iq3_xxs", 32, 8, 4, 8, "even", 0.5, 15),
        VectorForm("iq2_s", 16, 8, 8, 10, "free", 0.25, 15),
        VectorForm("iq2_xs", 16, 8, 8, 9, "even", 0.25, 15),
        VectorForm("iq2_xxs", 32, 8, 8, 8, "even", 0.25, 15),
        VectorForm("iq1_m", 16, 8, 8, 11, "", 2.0, 7, "vector"),
        VectorForm("iq1_s", 32, 8, 8, 11, "", 2.0, 7, "sub-block"),
    )
}
