"""Layers treated one by one, each for itself: streamed in blocks of rows, never in memory as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchvise.core.compress.apply import LayerSolution, solve_layer
from benchvise.core.compress.layer_matrix import LayerMatrix, LayerReader
from benchvise.core.compress.record import is_whole, record_key, write_record
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.workspace.run_record import RunRecord, record_file
from benchvise.core.workspace.workspace import Workspace


def compress_streaming(
    plan: Plan, run: RunRecord, workspace: Workspace, progress: Progress
) -> tuple[LayerCompressed, ...]:
    """Compress what the run has not finished; returns all its layers, with those that it had marked as resumed."""
    rows, reader = plan.treated_rows, weights_of(plan.operated)
    shares = shared_fits(rows, reader, progress)
    finished = {entry.key: entry for entry in run.entries()}
    layers: list[LayerCompressed] = []
    progress.start(sum(row.layer.nbytes for row in rows), "bytes")
    for row in rows:
        progress.check_cancelled()
        shared = shares.get(row.layer.name)
        key = record_key(row.layer, row.treatment, shared, plan.recipe.seed)
        path = record_file(workspace.layers, key)
        if key in finished and is_whole(path, row.layer, row.treatment, finished[key].sha256):
            layers.append(replace(finished[key].result, resumed=True))
            progress.advance(row.layer.nbytes)
        else:
            layer, sha256 = compress_layer(row, reader, shared, workspace, key, progress, plan.recipe.seed)
            layers.append(layer)
            run.append(key, layer, sha256)
        progress.result(layers[-1])
    return tuple(layers)


def compress_layer(
    row: PlanRow,
    reader: LayerReader,
    shared: Shared | None,
    workspace: Workspace,
    key: str,
    progress: Progress,
    seed: int,
) -> tuple[LayerCompressed, str]:
    """Solve the layer and write its record under `key`; returns what came of it and the record's sha256 (hex).

    `progress` advances by the layer's bytes. seed: the recipe's.
    Raises CheckpointError for weights that are not finite, and OutputError.
    """
    started = time.monotonic()
    solution = solve_layer(row.layer, row.treatment, reader, progress, shared, seed=seed)
    path = record_file(workspace.layers, key)
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


def shared_fits(rows: tuple[PlanRow, ...], reader: LayerReader, progress: Progress) -> dict[str, Shared]:
    """What global fits say to each layer: one fit over all layers of a rule that asks for it."""
    found: dict[str, Shared] = {}
    together: dict[int | None, list[PlanRow]] = {}
    for row in rows:
        if row.treatment.scheme.shared:
            together.setdefault(row.rule, []).append(row)
    for group in together.values():
        scheme = group[0].treatment.scheme
        progress.note(f"Finding one threshold over {len(group)} layers for {scheme.tag}")
        matrices = [LayerMatrix(row.layer, reader, progress, advances=True) for row in group]
        shares = arithmetic_of(scheme).share(scheme, matrices, progress)
        found |= {row.layer.name: shared for row, shared in zip(group, shares, strict=True)}
    return found


@contextmanager
def one_thread_left() -> Iterator[None]:
    """Leave a core for reading ahead and for measuring, which overlap with solving."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
