"""What a job will take, before it is run: how much it does, times how long each part takes here.

Parts are tried out once with the job's own code (`core.estimate.block_benchmark`) and kept in the workspace.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.estimate.cost_model import BlockwiseCostModel, CostEstimate, StreamingCostModel
from benchvise.core.estimate.rates import KnownRates
from benchvise.core.estimate.workload import streams_of
from benchvise.core.export.choose_target import key_for, plan_export
from benchvise.core.job.job import learns, walks
from benchvise.core.memory import release_freed, rss_bytes
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import ForecastJob
from benchvise.core.protocol.results import Estimate, JobForecast
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.machine import device_name, machine_key
from benchvise.core.workspace.forecasts import TARGETS
from benchvise.core.workspace.workspace import Workspace

MIN_RUNS = 3
"""So many past runs of the same kind must agree before they correct a forecast."""


def forecast_job(request: ForecastJob, progress: Progress) -> JobForecast:
    """≈ seconds, peak memory and disk of the job. The first for a network tries out its parts, later ones know them.

    Raises CheckpointError, RecipeError and UserError as the job itself would.
    """
    plan = make_plan(open_checkpoint(request.path), request.recipe)
    workspace, machine = Workspace(request.workspace), machine_key(compute_device())
    rates = KnownRates(workspace.job_rates_file(), machine)
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=workspace.path) as folder:
        kind = BlockwiseCostModel if walks(plan) or plan.calibration is not None else StreamingCostModel
        found = kind(plan, rates, Path(folder), progress).estimate()
        found = found.beginning(_beginning(request, Workspace(folder)))
    about = way_of(plan)
    seconds = sum(part for _, part in found.seconds)
    ratio, runs = workspace.forecast_bias("seconds", machine=machine, about=about)
    corrected = seconds * ratio if runs >= MIN_RUNS else seconds
    notes = list(found.notes)
    if runs >= MIN_RUNS:
        notes.append(f"The time is corrected by × {ratio:.2f}: the median of {runs} past runs of this kind here")
    base = rss_bytes()
    memory = (("this process as it is", base), *found.memory)
    forecast = JobForecast(
        seconds=_within(corrected, TARGETS["seconds"]),
        peak_bytes=_within(sum(nbytes for _, nbytes in memory), TARGETS["peak_bytes"]),
        disk_bytes=disk_bytes(plan, found, request),
        parts=found.seconds,
        memory=memory,
        device=device_name(compute_device()),
        notes=tuple(notes),
    )
    keep = workspace.keep_forecast
    keep(plan.source, plan.recipe, "seconds", forecast.seconds, raw=seconds, machine=machine, about=about)
    keep(plan.source, plan.recipe, "peak_bytes", forecast.peak_bytes, machine=machine, about=about)
    return forecast


def _beginning(request: ForecastJob, workspace: Workspace) -> float:
    """Seconds from the request to the first layer, and from the last to the result; also gives freed memory back."""
    started = time.perf_counter()
    plan = make_plan(open_checkpoint(request.path), request.recipe)
    run = workspace.new_run(plan)
    run.update(state="done")
    run.leave()
    release_freed()
    return time.perf_counter() - started


def disk_bytes(plan: Plan, found: CostEstimate, request: ForecastJob) -> int:
    """Layer records; the activations kept between two blocks, once and once more while they are written; the export."""
    records = sum(row.bytes_after for row in plan.treated_rows)
    activations = 2 * streams_of(plan, learns=learns(plan)) * found.stream_bytes
    exported = plan_export(plan, key_for(request.target, request.out)).nbytes if request.out else 0
    return max(records + activations, records + exported)


def way_of(plan: Plan) -> str:
    """What makes jobs similar in time: solvers, transforms and polish, by their keys."""
    solvers = {row.treatment.solver.key for row in plan.treated_rows}
    transforms = [transform.key for transform in plan.recipe.transforms]
    tuning = [step.key for step in plan.recipe.tuning]
    return " ".join([*transforms, *sorted(solvers), *tuning])


def _within(value: float, share: float) -> Estimate:
    return Estimate(value, value * (1 - share), value * (1 + share))
