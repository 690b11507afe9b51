"""The compression job: each layer is read, solved, written and freed; finished layers survive a crash."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import replace

from benchvise.core.blockwise.blockwise_run import BlockwiseRun
from benchvise.core.blockwise.calibration import CalibrationText, calibration_text
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.errors import Cancelled, OutputError
from benchvise.core.job.decisions import decided
from benchvise.core.job.streaming import compress_streaming, one_thread_left, shared_fits
from benchvise.core.job.surgery_proof import prove_surgery
from benchvise.core.job.surgery_stage import carry_out_surgery
from benchvise.core.memory import PeakMemory, release_freed
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Compress
from benchvise.core.protocol.results import Estimate, LayerCompressed, Run
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.text import byte_text
from benchvise.core.tuning.stage import TuningStage
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.wording import sentences
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace


def compress(request: Compress, progress: Progress) -> Run:
    """Carry out the request's recipe and keep the result in the workspace.

    With `resume`, layers that an earlier run of the same checkpoint and recipe finished are taken as they are; the
    result is the same, byte for byte. Raises UserError before anything is written when the plan cannot be carried out,
    and RunBusyError when the run to resume is being carried out by another process.
    """
    started = time.monotonic()
    plan = make_plan(open_checkpoint(request.path), request.recipe)
    prove_surgery(plan.operated)
    workspace = Workspace(request.workspace)
    text = _text(plan)
    planned = plan
    with PeakMemory() as before:
        plan, surgery = carry_out_surgery(plan, text, workspace, progress)
        plan = decided(plan, text, workspace, progress)
    earlier = workspace.resumable(plan) or (workspace.at_work(plan) if request.resume else None)
    if earlier is not None and earlier.manifest.surgery != surgery:  # the calibration text has changed since
        earlier = None
    _check_space(plan, workspace, earlier if request.resume else None)
    # Cutting a text into tokens takes a hundred times its size, which else counted as the job's.
    release_freed()
    for warning in (*sentences(planned.plan_warnings), *(text.notes if text is not None else ())):
        progress.note(warning)
    nbytes = float(plan.bytes_after)
    workspace.keep_forecast(plan.source, plan.recipe, "bytes", Estimate(nbytes, nbytes, nbytes))
    run = _begin(plan, surgery, workspace, earlier, resume=request.resume, progress=progress)
    finished = run.manifest.state == "done"
    try:
        with PeakMemory() as peak:
            layers = _carry_out(plan, run, workspace, text, progress, request.cluster, finished=finished)
        earlier_seconds = sum(layer.seconds for layer in layers if layer.resumed)
        seconds = time.monotonic() - started + earlier_seconds
        most = max(before.bytes, peak.bytes)
        run.update(state="done", seconds=seconds, peak_rss_bytes=most, stored_bytes=stored_bytes(plan, run))
    except BaseException as error:
        _mark(run, "cancelled" if isinstance(error, Cancelled | KeyboardInterrupt) else "failed")
        raise
    finally:
        run.leave()
    return replace(run.result, layers=layers)


def _begin(
    plan: Plan,
    surgery: tuple[str, ...],
    workspace: Workspace,
    earlier: RunRecord | None,
    *,
    resume: bool,
    progress: Progress,
) -> RunRecord:
    if earlier is not None and resume:
        earlier.take_up()
        finished, layers = len(earlier.journal()), len(plan.treated_rows)
        progress.note(f"Resuming run {earlier.id}: {finished} of {layers} layers are finished.")
        return earlier
    if resume:
        progress.note("There is no earlier run of this recipe on this checkpoint; starting from the beginning.")
    elif earlier is not None and earlier.state != "done":
        progress.note(f"Starting afresh; run {earlier.id} stays unfinished. Resume takes up its finished layers.")
    return workspace.new_run(plan, surgery)


def _carry_out(
    plan: Plan,
    run: RunRecord,
    workspace: Workspace,
    text: CalibrationText | None,
    progress: Progress,
    cluster: str,
    *,
    finished: bool,
) -> tuple[LayerCompressed, ...]:
    """Compress what the run has not finished; returns all its layers, with those that it had marked as resumed."""
    tuning = None
    if plan.recipe.tuning and text is not None:
        tuning = TuningStage(plan, run, workspace, text, progress)
    blockwise = BlockwiseRun(plan, run, workspace, text if learns(plan) else None, progress) if walks(plan) else None
    layers = tuning.earlier() if tuning is not None else None
    if cluster and (blockwise is not None or run.manifest.surgery):
        cluster = ""
        progress.note("The recipe goes block by block: all of it is computed on this machine, nothing on the cluster.")
    if layers is None and blockwise is not None:
        results = blockwise.carry_out(
            shared_fits(plan.treated_rows, weights_of(plan.operated), progress), finished=finished
        )
        layers = tuple(results[row.layer.name] for row in plan.treated_rows)
    elif layers is None:
        with one_thread_left():
            layers = compress_streaming(plan, run, workspace, progress, cluster)
    if tuning is not None:
        layers = tuning.carry_out(layers)
    if blockwise is not None:
        blockwise.forget()
    return layers


def walks(plan: Plan) -> bool:
    """Whether the plan goes block by block through the model: it has transforms, or learns from activations."""
    return bool(plan.checkpoint.architecture) and (learns(plan) or bool(plan.recipe.transforms))


def learns(plan: Plan) -> bool:
    """Whether anything but polish looks at activations."""
    found_by_block = any(transform.reach == "block" for transform in plan.recipe.transforms)
    return found_by_block or any(row.treatment.needs_calibration for row in plan.treated_rows)


def _text(plan: Plan) -> CalibrationText | None:
    """The calibration text, when anything in the plan looks at it. Raises UserError for a bad one."""
    if plan.calibration is None:
        return None
    return calibration_text(plan.checkpoint, plan.calibration, plan.recipe.seed)


def _check_space(plan: Plan, workspace: Workspace, resumed: RunRecord | None) -> None:
    finished = {entry.result.name for entry in resumed.journal()} if resumed is not None else set()
    needed = sum(row.bytes_after for row in plan.treated_rows if row.layer.name not in finished)
    place = workspace.path
    while not os.path.lexists(place):
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OutputError(
            f"The disk has {byte_text(free)} left, and the compressed layers take {byte_text(needed)}",
            where=str(workspace.path),
            remedy="Free space, or choose another workspace folder.",
        )


def stored_bytes(plan: Plan, run: RunRecord) -> int:
    """Bytes of all tensors of the finished run as its records hold them, with those of layers that stay as they are."""
    files = run.layer_files
    return sum(
        sum(entry.nbytes for entry in read_header(files[layer.name]).entries) if layer.name in files else layer.nbytes
        for layer in plan.checkpoint.layers
    )


def _mark(run: RunRecord, state: str) -> None:
    # The disk may be what failed; a run whose process is gone counts as interrupted anyhow.
    with suppress(OutputError):
        run.update(state=state)
