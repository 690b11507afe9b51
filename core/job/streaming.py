"""Layers treated one by one, each for itself: streamed in blocks of rows, never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchvise.core.cluster.layer_task import LayerTask, job_of
from benchvise.core.cluster.ray_workers import RayWorkers
from benchvise.core.compress.compressed_layer import compress_layer
from benchvise.core.compress.layer_matrix import LayerMatrix, LayerReader
from benchvise.core.compress.record import is_whole, place_record, record_key
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.workspace.run_record import RunRecord, record_file
from benchvise.core.workspace.workspace import Workspace


def compress_streaming(
    plan: Plan, run: RunRecord, workspace: Workspace, progress: Progress, cluster: str = ""
) -> tuple[LayerCompressed, ...]:
    """Compress what the run has not finished; returns all its layers, with those that it had marked as resumed.

    cluster: as in `Compress`; the result is the same, byte for byte.
    """
    rows, reader = plan.treated_rows, weights_of(plan.operated)
    shares = shared_fits(rows, reader, progress)
    finished = {entry.key: entry for entry in run.entries()}
    layers: dict[str, LayerCompressed] = {}
    missing: list[tuple[PlanRow, str]] = []
    progress.start(sum(row.layer.nbytes for row in rows), "bytes")
    for row in rows:
        progress.check_cancelled()
        shared = shares.get(row.layer.name)
        key = record_key(row.layer, row.treatment, shared, plan.recipe.seed)
        path = record_file(workspace.layers, key)
        if key in finished and is_whole(path, row.layer, row.treatment, finished[key].sha256):
            layers[row.layer.name] = replace(finished[key].result, resumed=True)
            progress.advance(row.layer.nbytes)
        elif cluster:
            missing.append((row, key))
            continue
        else:
            layers[row.layer.name], sha256 = compress_layer(row, reader, shared, path, progress, plan.recipe.seed)
            run.append(key, layers[row.layer.name], sha256)
        progress.result(layers[row.layer.name])
    if missing:
        for layer in _on_cluster(cluster, plan, missing, shares, run, workspace, progress):
            layers[layer.name] = layer
            progress.result(layer)
    return tuple(layers[row.layer.name] for row in rows)


def _on_cluster(
    cluster: str,
    plan: Plan,
    rows: Sequence[tuple[PlanRow, str]],
    shares: Mapping[str, Shared],
    run: RunRecord,
    workspace: Workspace,
    progress: Progress,
) -> Iterator[LayerCompressed]:
    """The layers as workers finish them; records and journal are written here alone."""
    by_name = {row.layer.name: (row, key) for row, key in rows}
    tasks = [LayerTask(name, shares.get(name)) for name in by_name]
    with RayWorkers(cluster, progress) as workers:
        progress.note(f"{len(tasks)} layers are shared out over {workers.processors} processors of the cluster.")
        for task, solved in workers.solve(job_of(plan.source.path, plan), tasks):
            row, key = by_name[task.layer]
            place_record(record_file(workspace.layers, key), solved.record)
            run.append(key, solved.result, solved.sha256)
            progress.advance(row.layer.nbytes)
            yield solved.result


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
