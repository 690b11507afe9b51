"""Layers of small floats with scales: FP8 with scales of blocks, MXFP4, NVFP4, and the code books of bitsandbytes.

Source: deepseek-ai/DeepSeek-V3, inference/kernel.py; openai/gpt-oss, gpt_oss/torch/weights.py;
bitsandbytes-foundation/bitsandbytes, bitsandbytes/functional.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.encodings.stored_codes import FP4, POWERS_OF_TWO, as_dtype, as_floats, floats
from benchvise.core.checkpoint.read import read_rows, rows
from benchvise.core.checkpoint.records import TensorEntry


@dataclass(frozen=True, slots=True)
class ScaledFloats:
    """8-bit floats or integers [..., rows, columns] times the scale of their block [..., rows/height, columns/length].

    powers: scales are bytes that hold exponents. divisor: what scales are to be divided by.
    """

    scheme: str
    width: int
    codes: TensorEntry
    scales: TensorEntry
    block: tuple[int, int]
    powers: bool = False
    divisor: float = 1.0

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return self.codes, self.scales

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Rows `first` to `last` of all matrices one under another: [last - first, columns]."""
        height = entry.shape[-2] if len(entry.shape) > 1 else 1
        flat = replace(self.codes, shape=(prod(entry.shape[:-1]), self.width))
        values = as_floats(read_rows(flat, first, last), self.codes.dtype)
        grid = -(-height // self.block[0]), -(-self.width // self.block[1])
        stored = read_rows(self.scales, 0, rows(self.scales))
        scales = POWERS_OF_TWO[stored.view(np.uint8)] if self.powers else as_floats(stored, self.scales.dtype)
        at = np.arange(first, last)
        rows_of_scales = at // height * grid[0] + at % height // self.block[0]
        chosen = scales.reshape(-1, grid[1])[rows_of_scales]
        spread = chosen[:, np.arange(self.width) // self.block[1]]
        return as_dtype(values * spread / np.float32(self.divisor), entry.dtype)


@dataclass(frozen=True, slots=True)
class Float4Blocks:
    """Two E2M1 numbers a byte, the first in the low half, with one scale for each `block` of them.

    codes: uint8, [rows, columns/2] or with blocks apart. scales: uint8 exponents, or E4M3 to be divided by `divisor`,
    which then lies in a tensor of its own. turned: every matrix [rows, columns] is seen as [columns, rows].
    """

    scheme: str
    width: int
    codes: TensorEntry
    scales: TensorEntry
    block: int
    columns: int
    divisor: TensorEntry | None = None
    turned: bool = False

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return (self.codes, self.scales, *((self.divisor,) if self.divisor is not None else ()))

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Rows `first` to `last`; whole matrices, [last - first, rows × columns], where they are turned."""
        each = self.width // self.columns
        low, high = first * each, last * each
        count = entry.elements // self.columns
        stored = read_rows(replace(self.codes, shape=(count, self.columns // 2)), low, high)
        values = FP4[np.stack([stored & 15, stored >> 4], axis=-1).reshape(high - low, self.columns)]
        scales = read_rows(replace(self.scales, shape=(count, self.columns // self.block)), low, high)
        if self.divisor is None:
            spread = POWERS_OF_TWO[scales]
        else:
            spread = as_floats(scales, self.scales.dtype) / floats(self.divisor).reshape(-1)[0]
        values = values * np.repeat(spread, self.block, axis=1)
        if self.turned:
            values = values.reshape(last - first, each, self.columns).swapaxes(1, 2).reshape(last - first, self.width)
        return as_dtype(values, entry.dtype)


@dataclass(frozen=True, slots=True)
class BookCodes:
    """Two codes a byte, the first in the high half, each for a level of a book, times the largest of their block.

    scales: float32 [blocks], or codes uint8 of `scale_levels` times `scale_scales` [blocks / scale_block], to which
    `scale_shift` is added. levels: float32 [16].
    """

    scheme: str
    width: int
    block: int
    codes: TensorEntry
    scales: TensorEntry
    levels: TensorEntry
    state: TensorEntry
    scale_levels: TensorEntry | None = None
    scale_scales: TensorEntry | None = None
    scale_block: int = 256
    scale_shift: float = 0.0

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        found = (self.codes, self.scales, self.levels, self.scale_levels, self.scale_scales, self.state)
        return tuple(part for part in found if part is not None)

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Lines `first` to `last` of the tensor in row-major order: [last - first, width]."""
        low, high = first * self.width, last * self.width
        start, stop = low // 2, -(-high // 2)
        stored = read_rows(replace(self.codes, shape=(self.codes.elements,)), start, stop)
        codes = np.stack([stored >> 4, stored & 15], axis=-1).reshape(-1)[low - 2 * start :][: high - low]
        blocks = np.arange(low, high) // self.block
        scales = self._scales(int(blocks[0]), int(blocks[-1]) + 1)
        values = floats(self.levels)[codes] * scales[blocks - blocks[0]]
        return as_dtype(values.reshape(last - first, self.width), entry.dtype)

    def _scales(self, first: int, last: int) -> NDArray[np.float32]:
        stored = read_rows(replace(self.scales, shape=(self.scales.elements,)), first, last)
        if self.scale_levels is None or self.scale_scales is None:
            return stored.astype(np.float32)
        steps = floats(self.scale_scales).reshape(-1)[np.arange(first, last) // self.scale_block]
        return floats(self.scale_levels)[stored] * steps + np.float32(self.scale_shift)
