"""The compression job: each layer is read, solved, written and freed; finished layers survive a crash."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

from core.checkpoint.open import open_checkpoint
from core.compress.apply import SolvedLayer, solve_layer
from core.compress.layer_matrix import LayerMatrix
from core.compress.memory import peak_rss_bytes
from core.compress.record import is_whole, record_key, write_record
from core.errors import Cancelled, OutputError
from core.progress import Progress
from core.protocol.requests import Compress
from core.protocol.results import LayerCompressed, Run
from core.recipe.plan import Plan, PlanRow, make_plan
from core.schemes.arithmetic import Shared
from core.schemes.matrix import SolvedRows
from core.schemes.registry import arithmetic_of
from core.workspace.run_record import RunRecord, record_file, this_process
from core.workspace.workspace import Workspace


def compress(request: Compress, progress: Progress) -> Run:
    """Carry out the request's recipe and keep the result in the workspace.

    With `resume`, layers that an interrupted run of the same checkpoint and recipe finished are taken as they are; the
    result is the same, byte for byte. Raises UserError before anything is written when the plan cannot be carried out.
    """
    started = time.monotonic()
    plan = make_plan(open_checkpoint(request.path), request.recipe)
    workspace = Workspace(request.workspace)
    _check_space(plan, workspace)
    for warning in plan.warnings:
        progress.note(warning)
    run = _begin(plan, workspace, resume=request.resume, progress=progress)
    try:
        resumed = _carry_out(plan, run, workspace, resume=request.resume, progress=progress)
    except Cancelled:
        run.update(state="cancelled")
        raise
    except Exception:
        _mark_failed(run)
        raise
    seconds = time.monotonic() - started + resumed
    run.update(state="done", seconds=seconds, peak_rss_bytes=peak_rss_bytes())
    return replace(run.result, layers=_in_order(plan, run))


def _begin(plan: Plan, workspace: Workspace, *, resume: bool, progress: Progress) -> RunRecord:
    found = workspace.interrupted(plan)
    if found is None or not resume:
        if found is not None:
            progress.note(f"Starting afresh; run {found.id} stays unfinished. Resume takes up its finished layers.")
        elif resume:
            progress.note("There is no unfinished run of this recipe on this checkpoint; starting from the beginning.")
        return workspace.new_run(plan)
    pid, started = this_process()
    found.update(state="running", pid=pid, started=started)
    progress.note(f"Resuming run {found.id}: {len(found.journal())} of {len(plan.treated())} layers are finished.")
    return found


def _carry_out(plan: Plan, run: RunRecord, workspace: Workspace, *, resume: bool, progress: Progress) -> float:
    """Compress what is not finished; returns the seconds that resumed layers took when they were computed."""
    rows = plan.treated()
    shares = _shared(rows, progress)
    finished = {entry.key: entry.result for entry in run.journal()} if resume else {}
    resumed = 0.0
    progress.start(sum(row.layer.nbytes for row in rows), "bytes")
    for row in rows:
        progress.check_cancelled()
        shared = shares.get(row.layer.name)
        key = record_key(row.layer, row.treatment, shared)
        path = record_file(workspace.layers, key)
        if key in finished and is_whole(path, row.layer, row.treatment):
            progress.result(replace(finished[key], resumed=True))
            progress.advance(row.layer.nbytes)
            resumed += finished[key].seconds
            continue
        result = _compress_layer(row, shared, workspace, key, progress)
        run.append(key, result)
        progress.result(result)
    return resumed


def _compress_layer(
    row: PlanRow, shared: Shared | None, workspace: Workspace, key: str, progress: Progress
) -> LayerCompressed:
    started = time.monotonic()
    parts, solved = solve_layer(row.layer, row.treatment, progress, shared)
    row_bytes = row.layer.nbytes // max(1, row.layer.matrix_shape[0])

    def watched() -> Iterator[SolvedRows]:
        for part in parts:
            solved.quality.add(part.original, part.decoded)
            yield part
            progress.advance(row_bytes * part.original.shape[0])

    write_record(record_file(workspace.layers, key), row.layer, row.treatment, watched(), solved.tail)
    return _result(row, solved, time.monotonic() - started)


def _result(row: PlanRow, solved: SolvedLayer, seconds: float) -> LayerCompressed:
    return LayerCompressed(
        name=row.layer.name,
        treatment=row.treatment.tag,
        sqnr_db=solved.quality.sqnr_db,
        max_error=solved.quality.max_error,
        zeros=solved.quality.zeros,
        bytes_before=row.layer.nbytes,
        bytes_after=row.bytes_after,
        bits_per_weight=row.bits_per_weight,
        seconds=seconds,
        notes=(f"on {solved.device}",),
    )


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
        matrices = [LayerMatrix(row.layer, progress) for row in group]
        shares = arithmetic_of(scheme).share(scheme, matrices)
        found |= {row.layer.name: shared for row, shared in zip(group, shares, strict=True)}
    return found


def _check_space(plan: Plan, workspace: Workspace) -> None:
    place = workspace.path
    while not place.exists():
        place = place.parent
    needed = sum(row.bytes_after for row in plan.treated())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OutputError(
            f"The disk has {free / 1e6:.0f} MB left, and the compressed layers take {needed / 1e6:.0f} MB",
            where=str(workspace.path),
            remedy="Free space, or choose another workspace folder.",
        )


def _mark_failed(run: RunRecord) -> None:
    try:
        run.update(state="failed")
    except OutputError:
        # The disk may be what failed; a run whose process is gone counts as interrupted anyhow.
        return


def _in_order(plan: Plan, run: RunRecord) -> tuple[LayerCompressed, ...]:
    by_name = {entry.result.name: entry.result for entry in run.journal()}
    return tuple(by_name[row.layer.name] for row in plan.treated())
