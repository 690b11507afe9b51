"""Blocks read back: what their codes stand for, to be multiplied with the 16-bit scales of the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from benchvise.core.methods.gguf import TYPES, GgufName
from benchvise.core.schemes.gguf.blocks import Contents, unpack
from benchvise.core.schemes.gguf.forms import FORMS
from benchvise.core.schemes.gguf.vector_forms import DELTA, VECTOR_FORMS, VectorForm


@dataclass(frozen=True)
class Decoded:
    """ŵ = (scale · factors) · levels − minimum · shifts, in float32 and in ggml's order of operations.

    levels:  float32 [rows, blocks, sub-blocks, size].
    factors: float32 [rows, blocks, sub-blocks, 1]; None for 1.
    shifts:  likewise; None where the minimum is added as it is, or is not there.
    """

    levels: Tensor
    factors: Tensor | None
    shifts: Tensor | None

    def weight(self, scales: Mapping[str, Tensor]) -> Tensor:
        """float32 [rows, columns] from float32 [rows, blocks] of each 16-bit scale by name; differentiable in them."""
        scale = scales["weight_scale"][..., None, None]
        found = (scale if self.factors is None else scale * self.factors) * self.levels
        if "weight_minimum" in scales:
            minimum = scales["weight_minimum"][..., None, None]
            found = found + minimum if self.shifts is None else found - minimum * self.shifts
        return found.flatten(1)


def decoded(name: GgufName, packed: Tensor) -> Decoded:
    """What `weight_packed` uint8 [rows, bytes] holds."""
    kind, rows = TYPES[name], len(packed)
    return of_contents(name, unpack(name, packed.reshape(-1, kind.code_bytes)), rows)


def of_contents(name: GgufName, contents: Contents, rows: int) -> Decoded:
    """The same of blocks that are unpacked, those of one row after another; `rows` of them."""
    if name in VECTOR_FORMS:
        return _of_vectors(VECTOR_FORMS[name], contents, rows)
    form = FORMS[name]
    per_block = form.weights // form.size
    levels = form.decode(contents.codes).view(rows, -1, per_block, form.size)
    factors = shifts = None
    if contents.scales is not None:
        factors = (contents.scales.float() - form.offset).view(rows, -1, per_block, 1)
    if contents.minima is not None:
        shifts = contents.minima.float().view(rows, -1, per_block, 1)
    return Decoded(levels, factors, shifts)


def _of_vectors(form: VectorForm, contents: Contents, rows: int) -> Decoded:
    if contents.scales is None:
        raise ValueError(f"{form.name} has a scale for each sub-block")
    per_block = form.weights // form.size
    vectors = form.decode(contents.codes).view(rows, -1, per_block, form.size)
    if contents.minima is not None:
        vectors = vectors + DELTA * (1 - 2 * contents.minima.float()).view(rows, -1, per_block, 1)
    return Decoded(vectors, (form.unit * (0.5 + contents.scales.float())).view(rows, -1, per_block, 1), None)
