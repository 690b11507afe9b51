"""Layers of integer codes with a scale and a zero point for each group of inputs: GPTQ, AWQ, compressed-tensors.

Source: ModelCloud/GPTQModel, nn_modules/qlinear; casper-hansen/AutoAWQ, awq/modules/linear/gemm.py;
vllm-project/compressed-tensors, compressors/pack_quantized and naive_quantized.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.encodings.stored_codes import (
    WORD,
    as_dtype,
    as_floats,
    columns_of,
    floats,
    unpack_words,
)
from benchvise.core.checkpoint.read import read_rows, rows
from benchvise.core.checkpoint.records import TensorEntry

AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in a word the code of each of eight neighbouring outputs lies."""


@dataclass(frozen=True, slots=True)
class TransposedCodes:
    """A weight [outputs, inputs] whose codes are stored [inputs, outputs].

    codes: int32, packed along the inputs [words, outputs], or with `columns_first` along the outputs [inputs, words].
    zeros: int32 [groups, words], less `less`; None for the middle of the range. scales: [groups, outputs].
    index: the group of every input, int32 [inputs]; None where groups are neighbours.
    """

    scheme: str
    width: int
    bits: int
    codes: TensorEntry
    scales: TensorEntry
    zeros: TensorEntry | None
    index: TensorEntry | None = None
    less: int = 0
    columns_first: bool = False

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return tuple(part for part in (self.codes, self.zeros, self.scales, self.index) if part is not None)

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Outputs `first` to `last`: [last - first, inputs]."""
        scales = as_floats(columns_of(self.scales, first, last), self.scales.dtype)
        zeros = self._zeros(first, last)
        groups = self._groups(scales.shape[1])
        if self.columns_first:
            codes = self._ordered(
                columns_of(self.codes, first * self.bits // WORD, _words(last, self.bits)), first, last
            )
        else:
            codes = unpack_words(columns_of(self.codes, first, last), self.bits, self.width)
        steps = codes.astype(np.float32) - zeros[:, groups]
        return as_dtype(steps * scales[:, groups], entry.dtype)

    def _zeros(self, first: int, last: int) -> NDArray[np.float32]:
        """Zero points [last - first, groups], or one that all share [last - first, 1]."""
        if self.zeros is None:
            return np.full((last - first, self.scales.shape[0]), 1 << (self.bits - 1), np.float32)
        if self.columns_first:
            found = self._ordered(
                columns_of(self.zeros, first * self.bits // WORD, _words(last, self.bits)), first, last
            )
        else:
            outputs = self.scales.shape[1]
            packed = read_rows(self.zeros, 0, rows(self.zeros))
            found = unpack_words(packed, self.bits, outputs)[:, first:last].T
        return ((found + self.less) & ((1 << self.bits) - 1)).astype(np.float32)

    def _ordered(self, words: NDArray[np.generic], first: int, last: int) -> NDArray[np.uint8]:
        """Words [words, n] that hold outputs `first` to `last`, as codes [last - first, n]."""
        each = WORD // self.bits
        shifts = np.array(AWQ_ORDER, np.uint32)[:each] * np.uint32(self.bits)
        codes = (words.view(np.uint32)[:, None, :] >> shifts[None, :, None]) & np.uint32((1 << self.bits) - 1)
        start = first - first // each * each
        return codes.astype(np.uint8).reshape(-1, words.shape[1])[start : start + last - first]

    def _groups(self, count: int) -> NDArray[np.int64]:
        if self.index is not None:
            return np.clip(read_rows(self.index, 0, self.width).astype(np.int64), 0, count - 1)
        return np.arange(self.width) // -(-self.width // count)


@dataclass(frozen=True, slots=True)
class RowCodes:
    """A weight [outputs, inputs] whose codes are stored by rows.

    codes: int32 words [outputs, words], or int8 [outputs, inputs], both about zero once half the range is taken away.
    scales: [outputs or 1, groups]. zeros: int32 words packed along the outputs [words, groups], or int8
    [outputs or 1, groups]. shape: the stored shape of the weight. index: the group of every input.
    divisor: what scales are to be divided by.
    """

    scheme: str
    width: int
    bits: int
    codes: TensorEntry
    scales: TensorEntry
    zeros: TensorEntry | None = None
    shape: TensorEntry | None = None
    index: TensorEntry | None = None
    divisor: float = 1.0

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        found = (self.codes, self.scales, self.zeros, self.shape, self.index)
        return tuple(part for part in found if part is not None)

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Rows `first` to `last`: [last - first, inputs]."""
        stored = read_rows(self.codes, first, last)
        half = 1 << (self.bits - 1)
        packed = self.codes.dtype == "int32"
        codes = unpack_words(stored, self.bits, self.width).astype(np.float32) - half if packed else stored
        scales = floats(self.scales).reshape(-1, self._group_count)
        zeros = self._zeros(scales.shape[0], half)
        if len(scales) > 1:
            scales, zeros = scales[first:last], zeros[first:last] if len(zeros) > 1 else zeros
        groups = self._groups(scales.shape[1])
        steps = codes.astype(np.float32) - zeros[:, groups]
        return as_dtype(steps * scales[:, groups] / np.float32(self.divisor), entry.dtype)

    @property
    def _group_count(self) -> int:
        return self.scales.shape[-1] if len(self.scales.shape) > 1 else 1

    def _zeros(self, count: int, half: int) -> NDArray[np.float32]:
        if self.zeros is None:
            return np.zeros((1, self._group_count), np.float32)
        stored = read_rows(self.zeros, 0, rows(self.zeros))
        if self.zeros.dtype == "int32":
            words = np.ascontiguousarray(stored.T)
            return unpack_words(words, self.bits, count).T.astype(np.float32) - half
        return stored.astype(np.float32).reshape(-1, self._group_count)

    def _groups(self, count: int) -> NDArray[np.int64]:
        if self.index is not None:
            return np.clip(read_rows(self.index, 0, self.width).astype(np.int64), 0, count - 1)
        return np.arange(self.width) // -(-self.width // count)


def _words(codes: int, bits: int) -> int:
    return -(-codes * bits // WORD)
