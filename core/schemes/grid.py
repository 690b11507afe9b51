"""A scheme on one matrix as solvers see it: parameters are chosen, then columns become codes and codes values."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from benchvise.core.progress import NULL_PROGRESS, Progress


class Grid(ABC):
    """The values that each weight of a matrix [rows, columns] may take.

    Columns are counted from the matrix's first. `values` are float32 [rows, n], n columns from `start` on; strides are
    free, and solvers that go column by column hand in views whose rows lie next to each other in memory. Nothing here
    may loop over rows or groups in Python, nor depend on the number of threads.

    span: columns that share parameters; parameters are chosen for whole spans (the last may be shorter). A scheme with
          parameters per row or per tensor has one span of all columns. Where some parameter spans more than that (one
          scale of the whole matrix above those of the spans), the grid is `nested`: that parameter comes from the last
          `fit` of all columns at once, so solvers fit all columns before they fit single spans again.
    step: neighbouring columns that become one code (1, but for vector code books); divides the span.
    """

    rows: int
    columns: int
    span: int
    step: int = 1
    nested: bool = False
    dtype: torch.dtype
    """The weight's, in which the represented values compute."""

    progress: Progress = NULL_PROGRESS
    """`fit` and `encode` call its `check_cancelled` between parts of their work; the caller sets it."""

    def learn(self, moments: Tensor) -> None:  # noqa: B027 - most grids need not know them
        """Look at the inputs' second moments, float32 [columns, columns], before any fit."""

    @abstractmethod
    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        """Choose the parameters of the spans in columns start … start + n from `values`, with the clip search, if any.

        importance: float32 [n], weights of the columns in the squared error; None: all the same. Values that are
        constant, zero, or a single column give finite parameters. May be called again: the last call counts.
        """

    @abstractmethod
    def encode(self, start: int, values: Tensor) -> Tensor:
        """Codes [rows, n / step] of the nearest representable values; an integer dtype, uint8 where it holds them."""

    @abstractmethod
    def decode(self, start: int, codes: Tensor) -> Tensor:
        """float32 [rows, n] that the codes stand for, as they compute: rounded to the weight's dtype."""

    @abstractmethod
    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        """The tensors of `Scheme.storage`, packed, from the codes [rows, columns / step] of the whole matrix."""

    def rounded(self, start: int, values: Tensor) -> tuple[Tensor, Tensor]:
        """What `encode` gives, and what `decode` makes of it."""
        codes = self.encode(start, values)
        return codes, self.decode(start, codes)

    def part(self, start: int, stop: int) -> Grid:  # noqa: ARG002 - the same for all rows, but where a subclass says
        """The fitted grid as rows start to stop see it, for encoding and decoding."""
        return self

    def nearest(self, start: int, values: Tensor) -> Tensor:
        """float32 [rows, n]: the nearest representable values."""
        return self.decode(start, self.encode(start, values))


class MaskGrid(Grid):
    """A grid whose fit also chooses which weights are zero.

    continuous: whether a weight that is not zero may have any value (of the weight's dtype).
    mask:       bool [rows, columns], which weights are not zero, as chosen last.
    """

    continuous: bool
    mask: Tensor

    @abstractmethod
    def chosen(self, values: Tensor) -> Tensor:
        """bool [rows, columns]: which weights stay, going by the magnitude of `values` [rows, columns], float32."""

    @abstractmethod
    def hold(self, mask: Tensor) -> None:
        """Leave the choice as bool `mask` [rows, columns] has it, whatever is fitted."""
