"""How GPTQ and AWQ folders store a layer: codes turned to [inputs, outputs]. Facts only; no tensors.

Sources: ModelCloud/GPTQModel, nn_modules/qlinear; casper-hansen/AutoAWQ, awq/modules/linear/gemm.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme

WORD = 32
_SCHEMES: frozenset[type[Scheme]] = frozenset({Integer})
"""The schemes whose codes, scales and zero points these formats hold."""


@dataclass(frozen=True)
class TransposedForm:
    """One of the two formats. columns_first: whether words run along the outputs (AWQ) instead of the inputs (GPTQ).

    bits: of codes that it holds. order: which of the outputs of a word its codes are, from the lowest bits up; empty
    for their own order. index: whether a tensor says the group of each input.
    """

    format: str
    bits: frozenset[int]
    columns_first: bool = False
    order: tuple[int, ...] = ()
    index: bool = False

    def problem(self, scheme: Scheme, layer: Layer) -> str:
        """Why the format cannot hold the values of `layer` under `scheme`, "" when it can."""
        integer = integer_of(scheme)
        if integer is None:
            return f"{scheme.title.lower()} layers have no {self.format.upper()} form"
        if integer.float_zero:
            return f"{self.format.upper()} has no zero points that are floating numbers"
        if integer.bits not in self.bits:
            return f"{self.format.upper()} holds {', '.join(map(str, sorted(self.bits)))} bits, not {integer.bits}"
        rows, columns = layer.matrix_shape
        if rows % WORD or columns % WORD:
            return f"{self.format.upper()} takes multiples of {WORD} outputs and inputs, not {rows} by {columns}"
        return ""

    def layout(self, scheme: Integer) -> PackedLayout:
        grouped = scheme.granularity in ("group", "block")
        size = scheme.group_size if grouped else None
        return PackedLayout(self.format, scheme.bits, scheme.symmetric, "group" if grouped else "channel", size)

    def tensors(self, layer: Layer, layout: PackedLayout, scale_dtype: str) -> tuple[StoredTensor, ...]:
        """The tensors of the layer, named by what comes after its name."""
        rows, columns = layer.matrix_shape
        groups = columns // (layout.group_size or columns)
        along = rows * layout.bits // WORD
        codes = (columns, along) if self.columns_first else (columns * layout.bits // WORD, rows)
        stored = [
            StoredTensor("qweight", "int32", codes),
            StoredTensor("qzeros", "int32", (groups, along)),
            StoredTensor("scales", scale_dtype, (groups, rows)),
        ]
        if self.index:
            stored.append(StoredTensor("g_idx", "int32", (columns,)))
        return tuple(stored)


def integer_of(scheme: Scheme) -> Integer | None:
    """The scheme, where the formats have a form for it."""
    return cast(Integer, scheme) if type(scheme) in _SCHEMES else None


GPTQ = TransposedForm("gptq", frozenset({2, 3, 4, 8}), index=True)
AWQ = TransposedForm("awq", frozenset({4}), columns_first=True, order=(0, 2, 4, 6, 1, 3, 5, 7))
