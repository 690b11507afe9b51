"""The compression job: each layer is read, solved, written and freed; finished layers survive a crash."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch

from core.checkpoint.open import open_checkpoint
from core.compress.apply import LayerSolution, solve_layer
from core.compress.layer_matrix import LayerMatrix
from core.compress.record import is_whole, record_key, write_record
from core.errors import Cancelled, OutputError
from core.memory import PeakMemory
from core.progress import Progress
from core.protocol.requests import Compress
from core.protocol.results import LayerCompressed, Run
from core.recipe.plan import Plan, PlanRow, make_plan
from core.schemes.arithmetic import Shared
from core.schemes.matrix import SolvedRows
from core.schemes.registry import arithmetic_of
from core.workspace.run_record import RunRecord, record_file
from core.workspace.workspace import Workspace


def compress(request: Compress, progress: Progress) -> Run:
    """Carry out the request's recipe and keep the result in the workspace.

    With `resume`, layers that an earlier run of the same checkpoint and recipe finished are taken as they are; the
    result is the same, byte for byte. Raises UserError before anything is written when the plan cannot be carried out.
    """
    started = time.monotonic()
    plan = make_plan(open_checkpoint(request.path), request.recipe)
    workspace = Workspace(request.workspace)
    earlier = workspace.resumable(plan)
    _check_space(plan, workspace, earlier if request.resume else None)
    for warning in plan.warnings:
        progress.note(warning)
    run = _begin(plan, workspace, earlier, resume=request.resume, progress=progress)
    try:
        with PeakMemory() as peak, _one_thread_left():
            layers = _carry_out(plan, run, workspace, progress)
        earlier_seconds = sum(layer.seconds for layer in layers if layer.resumed)
        seconds = time.monotonic() - started + earlier_seconds
        run.update(state="done", seconds=seconds, peak_rss_bytes=peak.bytes)
    except BaseException as error:
        _mark(run, "cancelled" if isinstance(error, Cancelled | KeyboardInterrupt) else "failed")
        raise
    finally:
        run.leave()
    return replace(run.result, layers=layers)


@contextmanager
def _one_thread_left() -> Iterator[None]:
    """Leave a core for reading ahead and for measuring, which overlap with solving."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _begin(
    plan: Plan, workspace: Workspace, earlier: RunRecord | None, *, resume: bool, progress: Progress
) -> RunRecord:
    if earlier is not None and resume:
        finished, layers = len(earlier.journal()), len(plan.treated())
        if earlier.state != "done":
            earlier.take_up()
        progress.note(f"Resuming run {earlier.id}: {finished} of {layers} layers are finished.")
        return earlier
    if resume:
        progress.note("There is no earlier run of this recipe on this checkpoint; starting from the beginning.")
    elif earlier is not None and earlier.state != "done":
        progress.note(f"Starting afresh; run {earlier.id} stays unfinished. Resume takes up its finished layers.")
    return workspace.new_run(plan)


def _carry_out(plan: Plan, run: RunRecord, workspace: Workspace, progress: Progress) -> tuple[LayerCompressed, ...]:
    """Compress what the run has not finished; returns all its layers, with those that it had marked as resumed."""
    rows = plan.treated()
    shares = _shared(rows, progress)
    finished = {entry.key: entry.result for entry in run.journal()}
    layers: list[LayerCompressed] = []
    progress.start(sum(row.layer.nbytes for row in rows), "bytes")
    for row in rows:
        progress.check_cancelled()
        shared = shares.get(row.layer.name)
        key = record_key(row.layer, row.treatment, shared)
        path = record_file(workspace.layers, key)
        if key in finished and is_whole(path, row.layer, row.treatment):
            layers.append(replace(finished[key], resumed=True))
            progress.advance(row.layer.nbytes)
        else:
            layers.append(_compress_layer(row, shared, workspace, key, progress))
            run.append(key, layers[-1])
        progress.result(layers[-1])
    return tuple(layers)


def _compress_layer(
    row: PlanRow, shared: Shared | None, workspace: Workspace, key: str, progress: Progress
) -> LayerCompressed:
    started = time.monotonic()
    solution = solve_layer(row.layer, row.treatment, progress, shared)
    path = record_file(workspace.layers, key)
    write_record(path, row.layer, row.treatment, _advancing(solution, progress), solution.tail)
    return LayerCompressed(
        name=row.layer.name,
        treatment=row.treatment.tag,
        sqnr_db=solution.quality.sqnr_db,
        max_error=solution.quality.max_error,
        zeros=solution.quality.zeros,
        bytes_before=row.layer.nbytes,
        bytes_after=row.bytes_after,
        bits_per_weight=row.bits_per_weight,
        seconds=time.monotonic() - started,
        notes=(f"on {solution.device}",),
    )


def _advancing(solution: LayerSolution, progress: Progress) -> Iterator[SolvedRows]:
    for part in solution.measured_rows():
        yield part
        progress.advance(part.original.nbytes)


def _shared(rows: tuple[PlanRow, ...], progress: Progress) -> dict[str, Shared]:
    """What global fits say to each layer: one fit over all layers of a rule that asks for it."""
    found: dict[str, Shared] = {}
    together: dict[int | None, list[PlanRow]] = {}
    for row in rows:
        if row.treatment.scheme.shared:
            together.setdefault(row.rule, []).append(row)
    for group in together.values():
        scheme = group[0].treatment.scheme
        progress.note(f"Finding one threshold over {len(group)} layers for {scheme.tag}")
        matrices = [LayerMatrix(row.layer, progress, advances=True) for row in group]
        arithmetic = arithmetic_of(scheme)
        progress.start(arithmetic.share_passes(matrices) * sum(row.layer.nbytes for row in group), "bytes")
        shares = arithmetic.share(scheme, matrices)
        found |= {row.layer.name: shared for row, shared in zip(group, shares, strict=True)}
    return found


def _check_space(plan: Plan, workspace: Workspace, resumed: RunRecord | None) -> None:
    finished = {entry.result.name for entry in resumed.journal()} if resumed is not None else set()
    needed = sum(row.bytes_after for row in plan.treated() if row.layer.name not in finished)
    place = workspace.path
    while not os.path.lexists(place):
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OutputError(
            f"The disk has {free / 1e6:.0f} MB left, and the compressed layers take {needed / 1e6:.0f} MB",
            where=str(workspace.path),
            remedy="Free space, or choose another workspace folder.",
        )


def _mark(run: RunRecord, state: str) -> None:
    # The disk may be what failed; a run whose process is gone counts as interrupted anyhow.
    with suppress(OutputError):
        run.update(state=state)
