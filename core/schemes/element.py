"""What one weight may be before its scale: the elements of floating formats and of tables of levels."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.schemes.level_table import LevelTable


class Element(Protocol):
    """A set of values that includes its negatives, each with a code of one byte.

    largest: the greatest value.
    levels:  all values float32, ascending.
    """

    @property
    def largest(self) -> float: ...

    @property
    def levels(self) -> Tensor:
        """All values, float32 [levels], ascending."""

    def encode(self, values: Tensor) -> Tensor:
        """uint8 codes of the nearest values to float32 `values` of any shape, which is kept; saturates at the ends."""

    def decode(self, codes: Tensor) -> Tensor:
        """float32 values of uint8 `codes` of any shape, which is kept."""

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        """The stored tensor of codes [rows, columns]."""

    def codes(self, stored: Mapping[str, Tensor], columns: int) -> Tensor:
        """What `stored` holds, as codes [rows, columns]."""


class Float8:
    """An 8-bit float; codes are its bit patterns. Rounds to nearest, ties to even, and saturates.

    Source: Micikevicius et al., arXiv 2209.05433, section 3; OCP 8-bit Floating Point Specification (OFP8) 1.0.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.largest: float = torch.finfo(dtype).max
        patterns = torch.arange(256, dtype=torch.int16).to(torch.uint8).view(dtype).float()
        self.levels = torch.tensor(sorted(set(patterns[patterns.isfinite()].tolist())))

    def encode(self, values: Tensor) -> Tensor:
        return values.clamp(-self.largest, self.largest).to(self.dtype).view(torch.uint8)

    def decode(self, codes: Tensor) -> Tensor:
        return codes.view(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        return {"weight": codes.contiguous().view(self.dtype)}

    def codes(self, stored: Mapping[str, Tensor], columns: int) -> Tensor:
        return stored["weight"].view(torch.uint8).reshape(-1, columns)


class Levels:
    """A table of levels; codes count them upwards and are packed in `bits` bits."""

    def __init__(self, table: LevelTable, bits: int) -> None:
        self._table, self._bits = table, bits
        self.largest, self.levels = table.largest, table.levels

    def encode(self, values: Tensor) -> Tensor:
        return self._table.encode(values)

    def decode(self, codes: Tensor) -> Tensor:
        return self._table.decode(codes)

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        return {"weight_packed": pack_rows(codes.contiguous(), self._bits)}

    def codes(self, stored: Mapping[str, Tensor], columns: int) -> Tensor:
        return unpack_rows(stored["weight_packed"], self._bits, columns)


class Float4(Levels):
    """E2M1: ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}. Ties go to the even mantissa, and both zeros are one code.

    Stored are the four bits of the format, sign above exponent above mantissa.
    Source: OCP Microscaling Formats (MX) Specification v1.0, section 5.3.3.
    """

    _MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    _ZERO = len(_MAGNITUDES) - 1
    _SIGN = 8

    def __init__(self) -> None:
        levels = [*(-value for value in self._MAGNITUDES[:0:-1]), *self._MAGNITUDES]
        thresholds = []
        for code, (low, high) in enumerate(pairwise(levels)):
            # A value at a threshold gets the lower code, so a tie that goes up has its threshold just below it.
            goes_up = (code + 1 - self._ZERO) % 2 == 0
            middle = np.float32((low + high) / 2)
            thresholds.append(float(np.nextafter(middle, np.float32(low)) if goes_up else middle))
        super().__init__(LevelTable(levels, thresholds), bits=4)

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        signed = codes.to(torch.int8) - self._ZERO
        return super().stored(torch.where(signed < 0, self._SIGN - signed, signed).to(torch.uint8))

    def codes(self, stored: Mapping[str, Tensor], columns: int) -> Tensor:
        pattern = super().codes(stored, columns).to(torch.int8)
        magnitude = pattern & (self._SIGN - 1)
        return torch.where(pattern < self._SIGN, self._ZERO + magnitude, self._ZERO - magnitude).to(torch.uint8)
