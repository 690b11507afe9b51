"""What a calibrated job leaves in its run: records, journal, and what it tells on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.output_error import output_error
from benchvise.core.compress.quality import Quality
from benchvise.core.compress.record import ARITHMETIC_VERSION, is_whole, write_record
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.schemes.grid_arithmetic import STREAMED
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.solvers.solution import InputStatistics, Solution
from benchvise.core.workspace.journal import JournalEntry
from benchvise.core.workspace.run_record import RunRecord, record_file
from benchvise.core.workspace.workspace import Workspace


@dataclass(frozen=True)
class Solved:
    """A treated layer: its weight as a matrix [outputs, inputs] before, and what became of it.

    extra: stored tensors beside the scheme's, such as the fixed scale of the inputs.
    """

    row: PlanRow
    weight: Tensor
    solution: Solution
    statistics: InputStatistics | None
    seconds: float
    extra: dict[str, Tensor]


class Recorder:
    """`identity`: hex digest of all that decides the job's results: checkpoint, recipe and calibration ids."""

    def __init__(self, run: RunRecord, workspace: Workspace, identity: str, progress: Progress) -> None:
        self._run = run
        self._layers = workspace.layers
        self._identity = identity
        self._progress = progress
        self._journal = {entry.result.name: entry for entry in run.journal()}

    def has(self, row: PlanRow) -> bool:
        """Whether an earlier process finished the layer in this very job, and its record is there."""
        entry = self._journal.get(row.layer.name)
        key = self.key(row.layer)
        return entry is not None and entry.key == key and self._is_there(entry, row.layer, row.treatment)

    def has_kept(self, layer: Layer) -> bool:
        """Whether the layer, which the recipe keeps, is as it was, or its record is there."""
        entry = self._journal.get(layer.name)
        return entry is None or (entry.key == self.key(layer) and self._is_there(entry, layer, KEEP))

    def _is_there(self, entry: JournalEntry, layer: Layer, treatment: Treatment) -> bool:
        return is_whole(self.file(entry.key), layer, treatment, entry.sha256)

    def earlier(self, row: PlanRow) -> LayerCompressed:
        """Tell of a layer that `has` found."""
        result = replace(self._journal[row.layer.name].result, resumed=True)
        self._progress.result(result)
        return result

    def keep_solved(self, solved: Solved) -> LayerCompressed:
        """Write the layer's record, then its line in the journal. Raises OutputError."""
        row, solution = solved.row, solved.solution
        quality = Quality()
        quality.add(solved.weight, solution.decoded)
        stored = solution.stored | solved.extra
        key = self.key(row.layer)
        sha256 = write_record(
            self.file(key),
            row.layer,
            row.treatment,
            _one_part(solved.weight, {name: part for name, part in stored.items() if name in STREAMED}, solution),
            lambda: {name: part for name, part in stored.items() if name not in STREAMED},
        )
        result = LayerCompressed(
            name=row.layer.name,
            treatment=row.treatment.tag,
            key=row.treatment.key,
            sqnr_db=quality.sqnr_db,
            max_error=quality.max_error,
            zeros=quality.zeros,
            bytes_before=row.layer.nbytes,
            bytes_after=row.bytes_after,
            bits_per_weight=row.bits_per_weight,
            seconds=solved.seconds,
            notes=(f"on {solved.weight.device.type}", *solution.notes),
            output_error=output_error(solved.weight, solution.decoded, solved.statistics),
            source=row.source,
        )
        self._run.append(key, result, sha256)
        self._progress.result(result)
        return result

    def keep_again(
        self, layer: Layer, treatment: Treatment, stored: dict[str, Tensor], result: LayerCompressed
    ) -> LayerCompressed:
        """Write a solved layer's record once more, with stored tensors that changed since.

        stored: each of the same shape and dtype as in the treatment's storage. Raises OutputError.
        """
        key = self.key(layer)
        streamed = {name: part for name, part in stored.items() if name in STREAMED}
        nothing = torch.empty(0)
        sha256 = write_record(
            self.file(key),
            layer,
            treatment,
            iter([SolvedRows(0, nothing, streamed, nothing)]),
            lambda: {name: part for name, part in stored.items() if name not in STREAMED},
        )
        self._run.append(key, result, sha256)
        self._progress.result(result)
        return result

    def keep_changed(self, layer: Layer, values: Tensor, why: str) -> None:
        """Write the record of a layer that the recipe keeps but whose values, [*layer.shape] in the layer's dtype, were
        changed all the same. Raises OutputError."""
        key = self.key(layer)
        part = SolvedRows(0, values, {"weight": values}, values)
        sha256 = write_record(self.file(key), layer, KEEP, iter([part]), dict)
        matrix = as_matrix(layer, values)
        zeros = int(torch.count_nonzero(matrix == 0))
        bits = 8 * layer.nbytes / max(1, layer.parameters)
        result = LayerCompressed(
            layer.name, KEEP.tag, None, 0.0, zeros, layer.nbytes, layer.nbytes, bits, 0.0, notes=(why,), key=KEEP.key
        )
        self._run.append(key, result, sha256)

    def key(self, layer: Layer) -> str:
        """Under which this job records the layer."""
        parts = [ARITHMETIC_VERSION, self._identity, layer.name]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def file(self, key: str) -> Path:
        """The record of that key."""
        return record_file(self._layers, key)


def _one_part(weight: Tensor, stored: dict[str, Tensor], solution: Solution) -> Iterator[SolvedRows]:
    yield SolvedRows(0, weight, stored, solution.decoded)
