"""The arithmetic of two factors: the nearest product of a rank, how it is stored, and what it stands for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.kernels.quantise import decode as decode_codes
from benchvise.core.kernels.quantise import quantise_pack
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.factors import FactorPair, nearest_factors
from benchvise.core.schemes.grid_arithmetic import STREAMED
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.schemes.integer_grid import IntegerGrid, scale_dtype
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.schemes.training import Trainable, of_values

LEFT, RIGHT = "weight_left", "weight_right"

_TURNS = 3
"""Of rounding what the factors leave, and fitting them to what rounding leaves: more gain next to nothing."""

_CLIP = ClipSearch(20, 0.6)


class LowRankArithmetic(SchemeArithmetic[LowRank]):
    """The whole matrix is read once, as all rows share the second factor; its rows are then handed out."""

    scheme = LowRank

    def fit(self) -> None:
        values = torch.cat([block.cpu() for _, block in self.matrix.blocks()])
        rows, columns = values.shape
        found = nearest_factors(values, self.settings.inner_width(rows, columns), self.progress)
        self._stored = self.stored(self.settings, found, values.dtype)
        self._decoded = self.decode(self.settings, self._stored, 0, rows, columns).to(values.dtype)

    def project(self, start: int, block: Tensor) -> SolvedRows:
        rows = slice(start, start + len(block))
        streamed = {name: values[rows] for name, values in self._stored.items() if name in STREAMED}
        return SolvedRows(start, block, streamed, self._decoded[rows])

    def tail(self) -> dict[str, Tensor]:
        return {name: values for name, values in self._stored.items() if name not in STREAMED}

    @classmethod
    def stored(cls, settings: LowRank, factors: FactorPair, dtype: torch.dtype) -> dict[str, Tensor]:
        """The tensors of `LowRank.storage` for a weight in `dtype`.

        Of integers, the second factor is rounded first, and the first is fitted to what that leaves. Where the rest is
        kept, rest and factors are found in turns, each to what the other leaves of the target.
        """
        rest: dict[str, Tensor] = {}
        if settings.integer is not None:
            importance = None if factors.moments is None else factors.moments.diagonal()
            target = factors.target
            rows, columns = target.shape
            for _ in range(_TURNS):
                grid = IntegerGrid(settings.integer, rows, columns, dtype, clip=_CLIP)
                left = target - factors.left @ factors.right
                grid.fit(0, left, importance)
                codes = grid.encode(0, left)
                rest = grid.stored(codes)
                factors = factors.of(target - grid.decode(0, codes))
        return cls._stored_factors(settings, factors, dtype) | rest

    @classmethod
    def _stored_factors(cls, settings: LowRank, factors: FactorPair, dtype: torch.dtype) -> dict[str, Tensor]:
        if settings.values == "dtype":
            limit = torch.finfo(dtype).max if dtype == torch.float16 else torch.inf
            values = {LEFT: factors.left, RIGHT: factors.right}
            return {name: value.clamp(-limit, limit).to(dtype) for name, value in values.items()}
        right = _packed(factors.right, settings.bits, dtype, RIGHT)
        left = factors.refitted(_unpacked(right, RIGHT, settings.bits, factors.right.shape[1])).left
        return _packed(left, settings.bits, dtype, LEFT) | right

    @classmethod
    def factors(cls, settings: LowRank, stored: Mapping[str, Tensor], rows: int, columns: int) -> tuple[Tensor, Tensor]:
        if settings.values == "dtype":
            return stored[LEFT], stored[RIGHT]
        rank = settings.inner_width(rows, columns)
        left = _unpacked(stored, LEFT, settings.bits, rank)
        return left, _unpacked(stored, RIGHT, settings.bits, columns)

    @classmethod
    def decode(cls, settings: LowRank, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        dtype = stored[LEFT if settings.values == "dtype" else f"{LEFT}_scale"].dtype
        right = _right(settings, stored, columns)
        if settings.values == "dtype":
            left = stored[LEFT][start:stop]
        else:
            part = {name: value[start:stop] for name, value in stored.items() if name.startswith(LEFT)}
            left = _unpacked(part, LEFT, settings.bits, len(right))
        # In float64, so that a row does not depend on the rows beside it.
        product = left.double() @ right.double()
        if settings.integer is not None:
            product += IntegerArithmetic.decode(settings.integer, stored, start, stop, columns)
        return product.to(dtype)

    @classmethod
    def tunable(cls, settings: LowRank, stored: Mapping[str, Tensor], columns: int) -> Tunable:
        """Both factors, or the scales of their integers, and those of the rest."""
        product = cls._tunable_product(settings, stored, columns)
        if settings.integer is None:
            return product
        rest = IntegerArithmetic.tunable(settings.integer, stored, columns)
        return Tunable({**product.parameters, **rest.parameters}, lambda p: product.weight(p) + rest.weight(p))

    @classmethod
    def _tunable_product(cls, settings: LowRank, stored: Mapping[str, Tensor], columns: int) -> Tunable:
        if settings.values == "dtype":
            parameters = {name: stored[name].float() for name in (LEFT, RIGHT)}
            return Tunable(parameters, lambda p: p[LEFT] @ p[RIGHT])
        names = [f"{name}_scale" for name in (LEFT, RIGHT)]
        units = dict(stored) | {name: torch.ones_like(stored[name]) for name in names}
        right = _right(settings, units, columns)
        left = _unpacked(units, LEFT, settings.bits, len(right))
        scales = {name: stored[name].float() for name in names}
        return Tunable(scales, lambda p: (left * p[names[0]]) @ (right * p[names[1]]))

    @classmethod
    def trainable(cls, settings: LowRank, stored: Mapping[str, Tensor], target: Tensor) -> Trainable | None:
        """Both factors; integers stay, and their scales are tuned."""
        if settings.values != "dtype":
            return None
        tunable = cls.tunable(settings, stored, target.shape[1])
        return of_values(tunable.parameters, tunable.weight, stored)


def _right(settings: LowRank, stored: Mapping[str, Tensor], columns: int) -> Tensor:
    return stored[RIGHT] if settings.values == "dtype" else _unpacked(stored, RIGHT, settings.bits, columns)


def _packed(values: Tensor, bits: int, dtype: torch.dtype, name: str) -> dict[str, Tensor]:
    found = quantise_pack(
        values.float().contiguous(),
        bits=bits,
        group_size=values.shape[1],
        symmetric=True,
        scale_dtype=scale_dtype(dtype),
    )
    return {f"{name}_packed": found.packed, f"{name}_scale": found.scale}


def _unpacked(stored: Mapping[str, Tensor], name: str, bits: int, across: int) -> Tensor:
    """The factor [down, across], float32."""
    return decode_codes(unpack_rows(stored[f"{name}_packed"], bits, across), stored[f"{name}_scale"], None, bits)
