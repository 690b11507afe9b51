"""The arithmetic of integer codes beside columns kept in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.methods.outliers import Outliers
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.schemes.outlier_columns import WithoutColumns, kept_values, largest_columns, magnitude_score
from benchvise.core.schemes.outlier_grid import OutlierGrid
from benchvise.core.schemes.training import Trainable, of_values


class OutliersArithmetic(SchemeArithmetic[Outliers]):
    """One pass finds the columns of the largest weights; integer arithmetic has the rest, with those at zero."""

    scheme = Outliers

    def fit(self) -> None:
        score = torch.zeros(self.matrix.columns)
        for _, block in self.matrix.blocks():
            score = torch.maximum(score, magnitude_score(block).cpu())
        self._columns = largest_columns(score, self.settings.kept_columns(self.matrix.columns))
        self._kept: list[Tensor] = []
        self._rest = WithoutColumns(self.matrix, self._columns)
        self._integer = IntegerArithmetic(self.settings.integer, self._rest, clip=self.clip, progress=self.progress)
        self._integer.fit()

    def project(self, start: int, block: Tensor) -> SolvedRows:
        columns = self._columns.to(block.device)
        kept = kept_values(block[:, columns], block.dtype)
        self._kept.append(kept.cpu())
        solved = self._integer.project(start, self._rest.without(block))
        decoded = solved.decoded.index_copy(1, columns, kept.to(solved.decoded.dtype))
        return SolvedRows(start, block, solved.stored, decoded)

    def tail(self) -> dict[str, Tensor]:
        columns = self._columns.to(torch.int32)
        return {**self._integer.tail(), "outlier_columns": columns, "outlier_values": torch.cat(self._kept)}

    @classmethod
    def decode(cls, settings: Outliers, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        rest = IntegerArithmetic.decode(settings.integer, stored, start, stop, columns)
        kept = stored["outlier_values"][start:stop].to(rest.dtype)
        return rest.index_copy(1, stored["outlier_columns"].long(), kept)

    @classmethod
    def grid(
        cls, settings: Outliers, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> Grid:
        return OutlierGrid(settings, rows, columns, dtype, clip=clip)

    @classmethod
    def tunable(cls, settings: Outliers, stored: Mapping[str, Tensor], columns: int) -> Tunable:
        rest = IntegerArithmetic.tunable(settings.integer, stored, columns)
        kept = stored["outlier_columns"].long()
        return Tunable(
            {**rest.parameters, "outlier_values": stored["outlier_values"].float()},
            lambda p: rest.weight(p).index_copy(1, kept, p["outlier_values"]),
        )

    @classmethod
    def trainable(cls, settings: Outliers, stored: Mapping[str, Tensor], target: Tensor) -> Trainable:
        rest = IntegerArithmetic.trainable(settings.integer, stored, target)
        kept, values = stored["outlier_columns"].long(), stored["outlier_values"]
        aside = of_values({"outlier_values": values.float()}, lambda v: v["outlier_values"], stored)
        return Trainable(
            rest.first | aside.first,
            rest.unit | aside.unit,
            lambda v: rest.weight(v).index_copy(1, kept, aside.weight(v)),
            lambda v: {**rest.stored(v), "outlier_values": aside.stored(v)["outlier_values"]},
            rest.fine,
            aside.loose,
        )

    @classmethod
    def levels(cls, settings: Outliers, stored: Mapping[str, Tensor]) -> Tensor:
        return IntegerArithmetic.levels(settings.integer, stored)
