"""The arithmetic of scalar code books."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.methods.codebook import Codebook
from benchvise.core.schemes.arithmetic import Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.codebook_grid import CodebookGrid, distinct_sorted
from benchvise.core.schemes.codebook_training import trainable
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.grid_arithmetic import GridArithmetic
from benchvise.core.schemes.normal_float import NormalFloatGrid, normal_float_levels
from benchvise.core.schemes.training import Trainable


class CodebookArithmetic(GridArithmetic[Codebook]):
    """Levels per group or row are found block by block; those of the whole tensor take a pass of their own."""

    scheme = Codebook

    def whole(self) -> bool:
        return self.settings.granularity == "tensor"

    @classmethod
    def grid(
        cls, settings: Codebook, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> Grid:
        """A clip search shrinks the scales of normal float; stored levels are searched as it is."""
        if settings.kind == "normal_float":
            return NormalFloatGrid(settings, rows, columns, dtype, clip=clip)
        return CodebookGrid(settings, rows, columns, dtype)

    @classmethod
    def decode(cls, settings: Codebook, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        codes = unpack_rows(stored["weight_packed"], settings.bits, columns)
        name = _parameter(settings)
        parameter = stored[name] if settings.granularity == "tensor" else stored[name][start:stop]
        return _weight(settings, codes, parameter).to(parameter.dtype)

    @classmethod
    def tunable(cls, settings: Codebook, stored: Mapping[str, Tensor], columns: int) -> Tunable:
        codes = unpack_rows(stored["weight_packed"], settings.bits, columns)
        name = _parameter(settings)
        return Tunable({name: stored[name].float()}, lambda p: _weight(settings, codes, p[name]))

    @classmethod
    def trainable(cls, settings: Codebook, stored: Mapping[str, Tensor], target: Tensor) -> Trainable:
        table = torch.tensor(normal_float_levels(settings.bits)) if settings.kind == "normal_float" else None

        def books(parameter: Tensor) -> Tensor:
            if table is not None:
                return parameter.reshape(len(parameter), -1, 1) * table
            return parameter.reshape(len(parameter), -1, settings.levels).sort(-1).values

        return trainable(settings, stored, _parameter(settings), books, target)

    @classmethod
    def levels(cls, settings: Codebook, stored: Mapping[str, Tensor]) -> Tensor:
        if settings.kind == "normal_float":
            scale = stored["weight_scale"]
            levels = torch.tensor(normal_float_levels(settings.bits)) * scale.float().max().cpu()
            return levels.to(scale.dtype).float()
        books = stored["weight_codebook"].float().reshape(-1, settings.levels)
        return distinct_sorted(books[int((books[:, -1] - books[:, 0]).argmax())])


def _parameter(settings: Codebook) -> str:
    return "weight_scale" if settings.kind == "normal_float" else "weight_codebook"


def _weight(settings: Codebook, codes: Tensor, parameter: Tensor) -> Tensor:
    """The weight [rows, columns] of uint8 codes, differentiable in its scales or its code books."""
    rows, columns = codes.shape
    if settings.kind == "normal_float":
        table = torch.tensor(normal_float_levels(settings.bits), device=codes.device)
        values = table[codes.int()].view(rows, -1, settings.group_columns(columns))
        return (values * parameter.float()[..., None]).flatten(1)
    if settings.granularity == "tensor":
        return parameter[0][codes.int()]
    if settings.granularity == "channel":
        return parameter.gather(1, codes.long())
    grouped = codes.view(rows, -1, settings.group_size).long()
    return parameter.gather(2, grouped).flatten(1)
