"""One layer, solved for itself and written as a record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchvise.core.compress.apply import LayerSolution, solve_layer
from benchvise.core.compress.layer_matrix import LayerReader
from benchvise.core.compress.record import write_record
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.schemes.matrix import SolvedRows


def compress_layer(
    row: PlanRow,
    reader: LayerReader,
    shared: Shared | None,
    path: Path,
    progress: Progress,
    seed: int,
) -> tuple[LayerCompressed, str]:
    """Solve the layer and write its record to `path`; returns what came of it and the record's sha256 (hex).

    `progress` advances by the layer's bytes. seed: the recipe's.
    Raises CheckpointError for weights that are not finite, and OutputError.
    """
    started = time.monotonic()
    solution = solve_layer(row.layer, row.treatment, reader, progress, shared, seed=seed)
    sha256 = write_record(path, row.layer, row.treatment, _advancing(solution, progress), solution.tail)
    layer = LayerCompressed(
        name=row.layer.name,
        treatment=row.treatment.tag,
        key=row.treatment.key,
        sqnr_db=solution.quality.sqnr_db,
        max_error=solution.quality.max_error,
        zeros=solution.quality.zeros,
        bytes_before=row.layer.nbytes,
        bytes_after=row.bytes_after,
        bits_per_weight=row.bits_per_weight,
        seconds=time.monotonic() - started,
        notes=(f"on {solution.device}", *solution.notes),
        source=row.source,
    )
    return layer, sha256


def _advancing(solution: LayerSolution, progress: Progress) -> Iterator[SolvedRows]:
    for part in solution.measured_rows():
        yield part
        progress.advance(part.original.nbytes)
