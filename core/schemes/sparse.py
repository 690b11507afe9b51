"""The arithmetic of sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NULL_PROGRESS, Progress
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Shared, Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.magnitude import kth_magnitude, passes
from benchvise.core.schemes.matrix import Matrix, SolvedRows
from benchvise.core.schemes.sparse_grid import SparseGrid
from benchvise.core.schemes.sparse_storage import decoded_rows, stored_mask, stored_rows
from benchvise.core.schemes.sparse_training import trainable_integers
from benchvise.core.schemes.training import Trainable, of_values

_FLOOR = 0.01
"""Of a layer's weights: what one threshold over many leaves of each at least; an empty layer cuts the network."""


class SparseArithmetic(SchemeArithmetic[Sparse]):
    """By magnitude and stored dense, rows stream: weights below a threshold become zero, and of those at it the first
    in row order, as many as asked. Anything else has the whole matrix in memory, as the grid sees it.
    """

    scheme = Sparse
    _threshold: float
    _ties: int | None

    def fit(self) -> None:
        self._whole = None if _streams(self.settings) else self._solved()
        if self._whole is not None:
            return
        if self.settings.criterion == "threshold":
            self._threshold, self._ties = self.settings.threshold, None
            return
        shared = self.shared or self.share(self.settings, [self.matrix])[0]
        self._threshold, self._ties = shared.threshold, shared.ties

    def project(self, start: int, block: Tensor) -> SolvedRows:
        if self._whole is not None:
            stored, decoded = self._whole
            rows = slice(start, start + len(block))
            streamed = {name: values[rows] for name, values in stored.items() if name == "weight"}
            return SolvedRows(start, block, streamed, decoded[rows])
        # In float64, which holds every weight and every threshold a person may type exactly.
        magnitude = block.double().abs()
        if self._ties is None:
            zero = magnitude <= self._threshold
        else:
            zero = magnitude < self._threshold
            if self._ties:
                at = (magnitude == self._threshold).reshape(-1).nonzero()[: self._ties, 0]
                zero.view(-1)[at] = True
                self._ties -= len(at)
        pruned = block.masked_fill(zero, 0)
        return SolvedRows(start, block, {"weight": pruned}, pruned)

    def tail(self) -> dict[str, Tensor]:
        if self._whole is None:
            return {}
        return {name: values for name, values in self._whole[0].items() if name != "weight"}

    def _solved(self) -> tuple[dict[str, Tensor], Tensor]:
        values = torch.cat([block.cpu() for _, block in self.matrix.blocks()])
        rows, columns = values.shape
        grid = self.grid(self.settings, rows, columns, values.dtype)
        grid.progress = self.progress
        grid.fit(0, values.float())
        codes = grid.encode(0, values.float())
        return grid.stored(codes), grid.decode(0, codes).to(values.dtype)

    @classmethod
    def decode(cls, settings: Sparse, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        if "weight" in stored:
            return stored["weight"].reshape(stop - start, columns)
        return decoded_rows(settings, stored, start, stop, columns)

    @classmethod
    def grid(
        cls,
        settings: Sparse,
        rows: int,
        columns: int,
        dtype: torch.dtype,
        *,
        clip: ClipSearch | None = None,  # noqa: ARG003 - the scales of its values are always searched
    ) -> Grid:
        if settings.shared:
            raise TypeError("one threshold over several layers has no grid for a single one")
        return SparseGrid(settings, rows, columns, dtype)

    @classmethod
    def share(cls, settings: Sparse, matrices: Sequence[Matrix], progress: Progress = NULL_PROGRESS) -> list[Shared]:
        """Exactly round(fraction · n) of all n weights together become zero; no matrix loses nearly all of its own."""
        sizes = [matrix.rows * matrix.columns for matrix in matrices]
        pruned = round(settings.fraction * sum(sizes))
        least = _least_kept(sizes, settings.fraction, sum(sizes) - pruned)
        floored: dict[int, Shared] = {}
        while True:
            common = [index for index in range(len(matrices)) if index not in floored]
            found = _smallest([matrices[index] for index in common], pruned, progress)
            starved = [i for i, (_, zeros) in zip(common, found, strict=True) if sizes[i] - zeros < least[i]]
            if not starved:
                shares = floored | {index: shared for index, (shared, _) in zip(common, found, strict=True)}
                return [shares[index] for index in range(len(matrices))]
            for index in starved:
                zeros = sizes[index] - least[index]
                ((shared, _),) = _smallest([matrices[index]], zeros, progress)
                kept = f"the threshold over all layers would leave next to nothing: {least[index]} weights are kept"
                floored[index] = replace(shared, note=kept)
                pruned -= zeros

    @classmethod
    def tunable(cls, settings: Sparse, stored: Mapping[str, Tensor], columns: int) -> Tunable | None:
        """The values that stay, or their scales, while zeros stay zeros."""
        if "weight" in stored:
            mask = stored["weight"] != 0
            return Tunable({"weight": stored["weight"].float()}, lambda p: p["weight"] * mask)
        if settings.integer is not None:
            scale = stored["weight_scale"].float()
            rows, groups = scale.shape
            units = dict(stored) | {"weight_scale": torch.ones_like(scale)}
            codes = decoded_rows(settings, units, 0, rows, columns).view(rows, groups, -1)
            return Tunable({"weight_scale": scale}, lambda p: (codes * p["weight_scale"][..., None]).flatten(1))
        rows = stored_rows(settings, stored, columns)
        mask = stored_mask(settings, stored, rows, columns)
        zeros = torch.zeros(rows, columns)
        return Tunable(
            {"weight_values": stored["weight_values"].float()},
            lambda p: zeros.to(p["weight_values"].device).masked_scatter(mask.to(zeros.device), p["weight_values"]),
        )

    @classmethod
    def trainable(cls, settings: Sparse, stored: Mapping[str, Tensor], target: Tensor) -> Trainable | None:
        if settings.integer is not None:
            return trainable_integers(settings, stored, target)
        tunable = cls.tunable(settings, stored, target.shape[1])
        if tunable is None:
            return None
        found = of_values(tunable.parameters, tunable.weight, stored)
        if "weight" in found.unit:  # stored dense, zeros among the others
            found.unit["weight"] = found.unit["weight"] * (stored["weight"] != 0)
        return found


def _streams(settings: Sparse) -> bool:
    plain = settings.pattern == "single" and settings.scope in ("layer", "global")
    return settings.criterion == "threshold" or (
        settings.criterion == "fraction" and plain and settings.storage_form == "dense" and not settings.weighs
    )


def _least_kept(sizes: Sequence[int], fraction: float, kept: int) -> list[int]:
    """How many weights of each matrix stay at least, when `kept` of all do: as many as asked where that is less."""
    least = [max(1, int(min(_FLOOR, 1 - fraction) * size)) for size in sizes]
    return least if sum(least) <= kept else [0] * len(sizes)


def _smallest(matrices: Sequence[Matrix], k: int, progress: Progress) -> list[tuple[Shared, int]]:
    """The k smallest magnitudes of all matrices together, and how many of them each has; of equal ones the first."""
    if k == 0:
        return [(Shared(0.0, 0), 0) for _ in matrices]
    weights = sum(matrix.rows * matrix.columns * matrix.dtype.itemsize for matrix in matrices)
    progress.start((passes(matrices) + 1) * weights, "bytes")
    threshold, below = kth_magnitude(matrices, k)
    left = k - below
    found = []
    for matrix in matrices:
        smaller, at = 0, 0
        for _, block in matrix.blocks():
            magnitude = block.double().abs()
            smaller += int((magnitude < threshold).sum())
            at += int((magnitude == threshold).sum())
        ties = min(left, at)
        found.append((Shared(threshold, ties), smaller + ties))
        left -= ties
    return found
