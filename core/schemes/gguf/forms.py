"""What the types of single weights compute: ŵ = step · level − shift, and what steps and shifts come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from benchvise.core.methods.gguf import TYPES, GgufName
from benchvise.core.schemes.level_table import LevelTable, midpoints
from benchvise.core.schemes.scale_rule import power_of_two

IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""Source: ggml, kvalues_iq4nl."""

FLOAT4_LEVELS = (-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)
"""Twice the numbers of E2M1. Source: ggml, kvalues_mxfp4."""


@dataclass(frozen=True)
class Form:
    """A type of single weights.

    levels:   ascending; the code of a level is its place.
    size:     weights of a sub-block, which share a step.
    least, greatest: of the integer that a sub-block's step is, in units of the block's scale; both 1 where the block is
              its only sub-block.
    minima:   the greatest integer that a shift is, in units of the block's second scale; 0 where there is no shift; 1
              where the block's second number is the shift itself, with the sign turned round.
    """

    name: GgufName
    levels: tuple[int, ...]
    size: int
    least: int = 1
    greatest: int = 1
    minima: int = 0

    @property
    def weights(self) -> int:
        """Of a block."""
        return TYPES[self.name].weights

    @property
    def nested(self) -> bool:
        """Whether sub-blocks have scales of their own under those of the block."""
        return self.greatest > 1

    @property
    def offset(self) -> int:
        """What is added to the integers of steps before they are stored."""
        return -self.least if self.least < 0 else 0

    @property
    def uniform(self) -> bool:
        return self.levels[-1] - self.levels[0] == len(self.levels) - 1

    @property
    def power_of_two(self) -> bool:
        return self.name == "mxfp4"

    def encode(self, positions: Tensor) -> Tensor:
        """Places of the nearest levels, as float32 or uint8, of float32 positions in steps; positions may be lost."""
        if self.uniform:
            return positions.round_().clamp_(self.levels[0], self.levels[-1]).sub_(self.levels[0])
        return _table(self.levels).encode(positions.contiguous())

    def nearest(self, positions: Tensor) -> Tensor:
        """float32 levels nearest to float32 positions [sub-blocks, size, rows] in steps; positions may be lost."""
        if self.uniform:
            return positions.round_().clamp_(self.levels[0], self.levels[-1])
        table = _table(self.levels)
        return table.decode(table.encode(positions.contiguous()))

    def decode(self, codes: Tensor) -> Tensor:
        """float32 levels of codes uint8, of their shape."""
        if self.uniform:
            return codes.float().add_(self.levels[0])
        return _table(self.levels).decode(codes)


@lru_cache(maxsize=16)
def _table(levels: tuple[int, ...]) -> LevelTable:
    return LevelTable(levels, midpoints(levels))


def _whole(low: int, high: int) -> tuple[int, ...]:
    return tuple(range(low, high + 1))


FORMS: dict[GgufName, Form] = {
    form.name: form
    for form in (
        Form("q8_0", _whole(-128, 127), 32),
        Form("q6_k", _whole(-32, 31), 16, least=-128, greatest=127),
        Form("q5_k", _whole(0, 31), 32, least=0, greatest=63, minima=63),
        Form("q5_1", _whole(0, 31), 32, minima=1),
        Form("q5_0", _whole(-16, 15), 32),
        Form("q4_k", _whole(0, 15), 32, least=0, greatest=63, minima=63),
        Form("q4_1", _whole(0, 15), 32, minima=1),
        Form("q4_0", _whole(-8, 7), 32),
        Form("iq4_nl", IQ4_LEVELS, 32),
        Form("iq4_xs", IQ4_LEVELS, 32, least=-32, greatest=31),
        Form("mxfp4", FLOAT4_LEVELS, 32),
        Form("q3_k", _whole(-4, 3), 16, least=-32, greatest=31),
        Form("q2_k", _whole(0, 3), 16, least=0, greatest=15, minima=15),
        Form("tq2_0", (-1, 0, 1), 256),
        Form("tq1_0", (-1, 0, 1), 256),
    )
}


def steps_of(form: Form, scale: Tensor, integers: Tensor | None) -> Tensor:
    """float32 steps [..., sub-blocks] of the scales [..., blocks, 1] and integers less their offset, as stored."""
    return scale if integers is None else scale * integers.float().sub_(form.offset)


def power_scale(stored: Tensor) -> Tensor:
    """float32 scales [rows, blocks] of the bytes uint8 of MXFP4: half of what E8M0 means, as levels are doubled."""
    return power_of_two(stored.int() - 128)
