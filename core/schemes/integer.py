"""The arithmetic of uniform integer grids."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from benchvise.core.kernels.clip import fit_clipped, grid_of_range, shrink_factors, squared_error
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.kernels.quantise import Packed, decode, quantise_pack
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.arithmetic import KernelForm, Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.grid_arithmetic import GridArithmetic
from benchvise.core.schemes.integer_grid import IntegerGrid, pack_columns, scale_dtype, unpack_columns
from benchvise.core.schemes.integer_learning import learnable, spread_rows
from benchvise.core.schemes.integer_training import trainable
from benchvise.core.schemes.learning import Learnable
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.schemes.training import Trainable


class IntegerArithmetic(GridArithmetic[Integer]):
    """Grids per group or row are found block by block; those that rows share take a pass of their own.

    Kernels do the work where they can, which give what the grid would.
    """

    scheme = Integer

    def whole(self) -> bool:
        return self.settings.shared_rows > 1

    def fit(self) -> None:
        if not self._by_kernels:
            super().fit()
            return
        self._scales: list[Tensor] = []
        self._zero_points: list[Tensor] = []
        self._whole: tuple[Tensor, Tensor | None] | None = None
        if self.settings.granularity == "tensor":
            self._whole = self._whole_grid()

    def project(self, start: int, block: Tensor) -> SolvedRows:
        settings, columns = self.settings, self.matrix.columns
        if not self._by_kernels:
            return super().project(start, block)
        group = settings.group_columns(columns)
        scale, zero = self._grid(block, group)
        packed = quantise_pack(
            block,
            bits=settings.bits,
            group_size=group,
            symmetric=settings.symmetric,
            scale_dtype=scale_dtype(block.dtype),
            scale=scale,
            zero_point=zero,
        )
        if self._whole is None:
            self._scales.append(packed.scale.cpu())
            if packed.zero_point is not None:
                self._zero_points.append(packed.zero_point.cpu())
        codes = unpack_rows(packed.packed, settings.bits, columns)
        decoded = decode(codes, packed.scale, packed.zero_point, settings.bits).to(block.dtype)
        return SolvedRows(start, block, {"weight_packed": packed.packed}, decoded)

    def tail(self) -> dict[str, Tensor]:
        if not self._by_kernels:
            return self._shared.parameters() if isinstance(self._shared, IntegerGrid) else super().tail()
        if self._whole is not None:
            scale, zero = self._whole
        else:
            scale = torch.cat(self._scales)
            zero = torch.cat(self._zero_points) if self._zero_points else None
        stored = {"weight_scale": scale}
        if zero is not None:
            stored["weight_zero_point"] = pack_columns(zero, self.settings.bits)
        return stored

    @classmethod
    def decode(cls, settings: Integer, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        codes = unpack_rows(stored["weight_packed"], settings.bits, columns)
        scale, zero = cls.stored_grid(settings, stored)
        at = torch.arange(start, stop, device=scale.device) // settings.shared_rows
        scale, zero = scale[at], None if zero is None else zero[at]
        if zero is None or not settings.float_zero:
            return decode(codes, scale, zero, settings.bits).to(scale.dtype)
        steps = codes.float().sub_(1 << (settings.bits - 1)).view(stop - start, scale.shape[1], -1)
        return _scaled(steps.sub_(zero.float()[..., None]), scale.float()).to(scale.dtype)

    @classmethod
    def stored_grid(cls, settings: Integer, stored: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Scale [rows, groups], and zero point uint8 [rows, groups], or None when symmetric; rows that share them once.

        Zero points that are no whole codes are as they are stored: less half the number of codes.
        """
        scale = stored["weight_scale"]
        if settings.symmetric:
            return scale, None
        if settings.float_zero:
            return scale, stored["weight_zero_point"]
        return scale, unpack_columns(stored["weight_zero_point"], settings.bits, scale.shape[0])

    @classmethod
    def grid(
        cls, settings: Integer, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> Grid:
        return IntegerGrid(settings, rows, columns, dtype, clip=clip)

    @classmethod
    def kernel_refusal(cls, settings: Integer) -> str:
        if settings.float_zero:
            return f"{settings.tag}: no kernel reads zero points that are floating numbers"
        if settings.granularity == "block":
            return f"{settings.tag}: no kernel reads scales that blocks of rows share"
        return ""

    @classmethod
    def kernel_form(cls, settings: Integer, columns: int) -> KernelForm:
        if cls.kernel_refusal(settings):
            return super().kernel_form(settings, columns)
        return KernelForm(settings.bits, settings.group_columns(columns), settings.symmetric)

    @classmethod
    def kernel_codes(cls, settings: Integer, stored: Mapping[str, Tensor], rows: int) -> Packed:
        if cls.kernel_refusal(settings):
            return super().kernel_codes(settings, stored, rows)
        scale, zero_point = cls.stored_grid(settings, stored)
        if settings.granularity == "tensor":
            scale = scale.expand(rows, 1)
            zero_point = None if zero_point is None else zero_point.expand(rows, 1)
        return Packed(stored["weight_packed"], scale, zero_point)

    @classmethod
    def tunable(cls, settings: Integer, stored: Mapping[str, Tensor], columns: int) -> Tunable:
        scale, zero = cls.stored_grid(settings, stored)
        codes = unpack_rows(stored["weight_packed"], settings.bits, columns)
        groups = codes.float().view(len(codes), columns // settings.group_columns(columns), -1)
        over = partial(spread_rows, shared_rows=settings.shared_rows, rows=len(codes))
        if zero is None or not settings.float_zero:
            steps = groups - over(_origin(settings, zero))[..., None]
            return Tunable({"weight_scale": scale.float()}, lambda p: _scaled(steps, over(p["weight_scale"])))
        return Tunable(
            {"weight_scale": scale.float(), "weight_zero_point": zero.float()},
            lambda p: _scaled(
                groups - over(_origin(settings, p["weight_zero_point"]))[..., None], over(p["weight_scale"])
            ),
        )

    @classmethod
    def learnable(cls, settings: Integer, stored: Mapping[str, Tensor], target: Tensor) -> Learnable:
        scale, zero = cls.stored_grid(settings, stored)
        return learnable(settings, stored, scale, None if zero is None else _origin(settings, zero), target)

    @classmethod
    def trainable(cls, settings: Integer, stored: Mapping[str, Tensor], target: Tensor) -> Trainable:
        scale, zero = cls.stored_grid(settings, stored)
        return trainable(settings, stored, scale, None if zero is None else _origin(settings, zero), target)

    @classmethod
    def levels(cls, settings: Integer, stored: Mapping[str, Tensor]) -> Tensor:
        scale, zero = cls.stored_grid(settings, stored)
        where = int(scale.float().argmax())
        origin = _origin(settings, zero).expand(scale.shape).reshape(-1)[where]
        levels = (torch.arange(1 << settings.bits).float() - origin) * scale.float().reshape(-1)[where]
        return levels.to(scale.dtype).float()

    @property
    def _by_kernels(self) -> bool:
        return not self.settings.float_zero and self.settings.granularity != "block"

    def _grid(self, block: Tensor, group: int) -> tuple[Tensor | None, Tensor | None]:
        rows = block.shape[0]
        if self._whole is not None:
            scale, zero = self._whole
            zero = None if zero is None else zero.to(block.device).expand(rows, 1)
            return scale.to(block.device).expand(rows, 1), zero
        if self.clip is None:
            return None, None
        return fit_clipped(
            block,
            bits=self.settings.bits,
            group_size=group,
            symmetric=self.settings.symmetric,
            scale_dtype=scale_dtype(block.dtype),
            steps=self.clip.steps,
            least=self.clip.least,
            progress=self.progress,
        )

    def _whole_grid(self) -> tuple[Tensor, Tensor | None]:
        low, high = float("inf"), float("-inf")
        for _, block in self.matrix.blocks():
            lo, hi = torch.aminmax(block)
            low, high = min(low, float(lo)), max(high, float(hi))
        factors = [1.0] if self.clip is None else shrink_factors(self.clip.steps, self.clip.least)
        bits, symmetric, dtype = self.settings.bits, self.settings.symmetric, scale_dtype(self.matrix.dtype)
        least, greatest = torch.tensor([[low]]), torch.tensor([[high]])
        grids = [
            grid_of_range(least * f, greatest * f, bits=bits, symmetric=symmetric, scale_dtype=dtype) for f in factors
        ]
        if len(grids) == 1:
            return grids[0]
        errors = [0.0] * len(grids)
        for _, block in self.matrix.blocks():
            for index, (scale, zero) in enumerate(grids):
                self.progress.check_cancelled()
                errors[index] += squared_error(block, scale, zero, bits)
        return grids[min(range(len(grids)), key=errors.__getitem__)]


def _origin(settings: Integer, zero: Tensor | None) -> Tensor:
    """Where zero lies by code, float32 [rows, groups] or [1, 1] for all; zero points as `stored_grid` gives them."""
    half = float(1 << (settings.bits - 1))
    if zero is None:
        return torch.full((1, 1), half)
    return zero.float() + half if settings.float_zero else zero.float()


def _scaled(steps: Tensor, scale: Tensor) -> Tensor:
    """[rows, columns] from steps [rows, groups, size] and scales [rows, groups]."""
    return (steps * scale[..., None]).flatten(1)
