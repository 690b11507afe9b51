"""The arithmetic that schemes of elements times scales share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor

from benchvise.core.methods.scheme import Scheme
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.element import Element
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.schemes.scale_rule import ScaleRule, stored_steps
from benchvise.core.schemes.scaled_grid import ScaledGrid, spread
from benchvise.core.schemes.scaled_training import trainable
from benchvise.core.schemes.training import Trainable

S = TypeVar("S", bound=Scheme)


class ScaledArithmetic(SchemeArithmetic[S], Generic[S]):
    """Scales of single rows are found block by block; those that rows share take passes of their own."""

    def fit(self) -> None:
        self._parts: list[dict[str, Tensor]] = []
        grid = self._new_grid(self.matrix.rows)
        self._whole = grid if grid.crosses_rows else None
        if self._whole is not None:
            self._whole.fit_passes(0, self.matrix.columns, self._rows)

    def project(self, start: int, block: Tensor) -> SolvedRows:
        values = block.float()
        if self._whole is None:
            grid = self._new_grid(len(block))
            grid.fit(0, values)
            self._parts.append(grid.parameters())
        else:
            grid = self._whole.part(start, start + len(block))
        codes = grid.encode(0, values)
        return SolvedRows(start, block, grid.element.stored(codes), grid.decode(0, codes).to(block.dtype))

    def tail(self) -> dict[str, Tensor]:
        if self._whole is not None:
            return self._whole.parameters()
        return {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}

    @classmethod
    @abstractmethod
    def element(cls, settings: S) -> Element:
        """What a weight may be before its scale."""

    @classmethod
    @abstractmethod
    def rule(cls, settings: S, dtype: torch.dtype, clip: ClipSearch | None) -> ScaleRule:
        """How scales are found for weights in `dtype`."""

    @classmethod
    @abstractmethod
    def cell(cls, settings: S) -> tuple[int, int]:
        """Rows and columns that share a scale, or more than there are."""

    @classmethod
    @abstractmethod
    def tuned(cls, settings: S) -> str:
        """The stored tensor that polish may change, "" for none."""

    @classmethod
    def grid(
        cls, settings: S, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> ScaledGrid:
        rule = cls.rule(settings, dtype, clip)
        return ScaledGrid(cls.element(settings), rule, (rows, columns), cls.cell(settings), dtype)

    @classmethod
    def decode(cls, settings: S, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        element = cls.element(settings)
        steps = spread(stored_steps(stored), cls.cell(settings), range(start, stop), columns)
        return element.decode(element.codes(stored, columns)).mul_(steps)

    @classmethod
    def tunable(cls, settings: S, stored: Mapping[str, Tensor], columns: int) -> Tunable | None:
        name, element = cls.tuned(settings), cls.element(settings)
        if not name:
            return None
        elements = element.decode(element.codes(stored, columns))
        rows, cell = range(len(elements)), cls.cell(settings)
        fixed = {key: values for key, values in stored.items() if key.startswith("weight_") and key != name}
        return Tunable(
            {name: stored[name].float()},
            lambda parameters: elements * spread(stored_steps(fixed | dict(parameters)), cell, rows, columns),
        )

    @classmethod
    def trainable(cls, settings: S, stored: Mapping[str, Tensor], target: Tensor) -> Trainable:
        rows, cell, columns = range(len(target)), cls.cell(settings), target.shape[1]
        return trainable(
            cls.element(settings),
            stored,
            cls.tuned(settings),
            lambda parameters: spread(stored_steps(parameters), cell, rows, columns),
            target,
        )

    @classmethod
    def levels(cls, settings: S, stored: Mapping[str, Tensor]) -> Tensor:
        return cls.element(settings).levels * stored_steps(stored).max()

    def _rows(self) -> Iterator[tuple[int, Tensor]]:
        return ((start, block.float()) for start, block in self.matrix.blocks())

    def _new_grid(self, rows: int) -> ScaledGrid:
        grid = self.grid(self.settings, rows, self.matrix.columns, self.matrix.dtype, clip=self.clip)
        grid.progress = self.progress
        return grid
