"""What can be asked of the core: one function answers every request, for the window, the command line and the tests.

Rooms are imported when they are first needed, so that opening a checkpoint does not wait for torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchvise.core.allocate.allocate import Allocator
from benchvise.core.allocate.sizes import size_candidates
from benchvise.core.checkpoint.reopen import LAST_OPENED
from benchvise.core.export.choose_target import is_dense_folder, plan_export
from benchvise.core.export.targets.dense import Dense
from benchvise.core.export.targets.registry import AUTO
from benchvise.core.preflight.check import check_recipe
from benchvise.core.preflight.facts import Facts
from benchvise.core.preflight.reference_model import reference_model
from benchvise.core.progress import Progress
from benchvise.core.protocol import requests, results
from benchvise.core.recent import Recent
from benchvise.core.recipe.plan import DROPPED, Plan, make_plan
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.sensitivity.known import known_sensitivity
from benchvise.core.wording import sentences
from benchvise.core.workspace.workspace import RUN_PREFIX, Workspace

LAYERS_PER_PART = 1000
ALLOCATOR = Allocator()

_ESTIMATED_KL: Recent[tuple[str, Recipe], results.Estimate] = Recent(256)
"""The last estimates of the KL of allocated recipes, by checkpoint path and the recipe without its name."""

_IMPORTS = threading.Lock()
_IMPORTED: set[str] = set()

_WARM = (
    "benchvise.core.analysis.look",
    "benchvise.core.job.job",
    "benchvise.core.export.export",
    "benchvise.core.sensitivity.measure",
    "benchvise.core.runtime.latency",
    "transformers.modeling_utils",
)
"""What takes seconds to import, in the order in which people come to need it."""

Handler = Callable[[Any, Progress], results.Result]
M = TypeVar("M", results.Evaluation, results.Latency)


@contextmanager
def _importing(room: str) -> Iterator[None]:
    """Where `room` is imported: no two rooms at once, unless it is there already.

    Threads that import torch or transformers by different doors can meet half-made modules, since the modules of both
    import each other in circles.
    """
    if room in _IMPORTED:
        yield
        return
    with _IMPORTS:
        yield
    _IMPORTED.add(room)


def _in(room: str, function: str) -> Handler:
    """A handler that is a room's own function, imported when it is first asked for."""

    def handle(request: Any, progress: Progress) -> results.Result:
        with _importing(room):
            handler: Handler = getattr(import_module(room), function)
        return handler(request, progress)

    return handle


def answer(request: requests.Request, progress: Progress) -> results.Result:
    """Carry out one request. Raises UserError for what the person can correct, and Cancelled when asked to stop."""
    if isinstance(request, requests.JOBS):
        _free_memory(progress)
    return _HANDLERS[type(request)](request, progress)


def _free_memory(progress: Progress) -> None:
    """A job needs the memory of the model that is kept loaded for quick answers."""
    if "benchvise.core.sensitivity.what_if" in _IMPORTED:
        from benchvise.core.sensitivity.what_if import forget_loaded

        forget_loaded(progress)


def _open(request: requests.Open, progress: Progress) -> results.Opened:
    checkpoint = LAST_OPENED.open(request.path)
    layers = checkpoint.layers
    for start in range(0, len(layers), LAYERS_PER_PART):
        progress.result(results.LayersOpened(layers[start : start + LAYERS_PER_PART]))
    return results.Opened(replace(checkpoint, layers=()))


def _plan(request: requests.MakePlan, progress: Progress) -> results.Planned:  # noqa: ARG001 - it takes no time
    return planned(make_plan(LAST_OPENED.open(request.path), request.recipe, allow_empty=True))


def _named(plan: Plan) -> tuple[tuple[tuple[int, str], ...], list[int]]:
    """The distinct (treatment, name), and which of them each layer has."""
    names: dict[tuple[int, str], int] = {(0, plan.treatments[0].tag): 0}
    known: dict[tuple[int, int], int] = {}
    for index, pair in enumerate(zip(plan.choice, plan.rules, strict=True)):
        if pair not in known:
            known[pair] = names.setdefault((pair[0], plan.treatment_name(index)), len(names))
    return tuple(names), [known[pair] for pair in zip(plan.choice, plan.rules, strict=True)]


def planned(plan: Plan) -> results.Planned:
    """The plan in columns, with what an export that loads it will have to change."""
    names, named = _named(plan)
    tags = tuple(name for _, name in names)
    keys = tuple(plan.treatments[number].key for number, _ in names)
    origins, count = list(plan.operated.origins), len(plan.source.layers)
    choice, rules = np.full(count, len(tags), np.int32), np.full(count, -1, np.int32)
    bytes_after = np.zeros(count, np.int64)
    choice[origins], rules[origins], bytes_after[origins] = named, plan.rules, plan.bytes_per_layer
    return results.Planned(
        tags=(*tags, DROPPED) if len(origins) < count else tags,
        keys=(*keys, DROPPED) if len(origins) < count else keys,
        choice=choice,
        bytes_after=bytes_after,
        rules=rules,
        total_before=plan.bytes_before,
        total_after=plan.bytes_after,
        bits_per_weight=plan.bits_per_weight,
        bits_per_treated_weight=plan.bits_per_treated_weight,
        treated_layers=len(plan.treated_rows),
        warnings=(*plan.plan_warnings, *plan_export(plan, AUTO).plan_warnings),
        calibration=plan.calibration.in_words if plan.calibration is not None else "",
    )


def _check(request: requests.CheckRecipe, progress: Progress) -> results.Checked:  # noqa: ARG001 - it goes no steps
    if not request.path:
        return check_recipe(reference_model(), request, lambda _: Facts())
    with _importing("benchvise.core.preflight.gather"):
        from benchvise.core.preflight.gather import gather

    return check_recipe(LAST_OPENED.open(request.path), request, lambda plan: gather(plan, request))


def _allocate(request: requests.Allocate, progress: Progress) -> results.Allocated:  # noqa: ARG001 - it takes no time
    checkpoint = LAST_OPENED.open(request.path)
    allocation = ALLOCATOR.allocate(request, checkpoint)
    found = allocation.answer(planned(make_plan(checkpoint, allocation.recipe, allow_empty=True)))
    _ESTIMATED_KL.put((request.path, found.recipe.unnamed), found.kl)
    return found


def _size_candidates(request: requests.SizeCandidates, progress: Progress) -> results.CandidateSizes:  # noqa: ARG001 - it takes no time
    return size_candidates(request, LAST_OPENED.open(request.path))


def _keep_estimated(request: requests.Compress) -> None:
    """A dragged budget tells the KL of hundreds of recipes: only that of one which is carried out is kept."""
    kl = _ESTIMATED_KL.take((request.path, request.recipe.unnamed))
    if kl is not None:
        _keep_forecast(request.path, request.recipe, request.workspace, "kl", kl)


def _compress(request: requests.Compress, progress: Progress) -> results.Run:
    with _importing("benchvise.core.job.job"):
        from benchvise.core.job.job import compress

    if not request.out:
        _keep_estimated(request)
        return compress(request, progress)
    with _importing("benchvise.core.export.export"):
        from benchvise.core.export.export import export, preview, written_before

    plan = make_plan(LAST_OPENED.open(request.path), request.recipe)
    earlier = Workspace(request.workspace).resumable(plan) if request.resume else None
    planned = preview(plan, request.target, request.out, earlier)
    dense_too = bool(request.dense) and not is_dense_folder(planned)
    if dense_too:
        preview(plan, Dense.key, request.dense, earlier)
    for warning in sentences(planned.plan_warnings):
        progress.note(warning)
    _keep_estimated(request)
    run = compress(request, progress)
    ask = requests.Export(f"{RUN_PREFIX}{run.run}", request.target, request.out, request.workspace)

    def written(ask: requests.Export) -> results.Exported:
        """The export, taken as it is when a process that was killed afterwards left it whole."""
        return (written_before(ask, progress) if request.resume else None) or export(ask, progress)

    exported = written(ask)
    dense = written(replace(ask, target=Dense.key, out=request.dense)) if dense_too else exported
    warnings = dict.fromkeys((*run.warnings, *exported.warnings, *dense.warnings))
    return replace(
        run,
        out=exported.out,
        target=exported.target,
        dense=dense.out if dense_too or is_dense_folder(planned) else "",
        warnings=tuple(warnings),
    )


def _evaluate(request: requests.Evaluate, progress: Progress) -> results.Evaluation:
    with _importing("benchvise.core.evaluate.evaluate"):
        from benchvise.core.evaluate.evaluate import evaluate

    return _keep(evaluate(request, progress), request.source, request.workspace)


def _latency(request: requests.MeasureLatency, progress: Progress) -> results.Latency:
    with _importing("benchvise.core.runtime.latency"):
        from benchvise.core.runtime.latency import measure_latency

    return _keep(measure_latency(request, progress), request.source, request.workspace)


def _forecast(request: requests.ForecastLatency, progress: Progress) -> results.LatencyForecast:
    with _importing("benchvise.core.runtime.forecast"):
        from benchvise.core.runtime.forecast import forecast_latency

    found = forecast_latency(request, progress)
    if not found.other_machine and (found.batch, found.context) == (1, results.DEFAULT_CONTEXT):
        _keep_forecast(request.path, request.recipe, request.workspace, "decode_ms", found.after_ms)
        _keep_forecast(request.path, request.recipe, request.workspace, "speed_up", found.speed_up)
    return found


def _keep_forecast(path: str, recipe: Recipe, workspace: str, kind: str, estimate: results.Estimate) -> None:
    """Keep what was forecast, so that a run of the recipe can be held against it."""
    Workspace(workspace).keep_forecast(LAST_OPENED.open(path), recipe, kind, estimate)


def _list_runs(request: requests.ListRuns, progress: Progress) -> results.RunList:  # noqa: ARG001 - it takes no time
    workspace = Workspace(request.workspace)
    return results.RunList(str(workspace.path), workspace.runs())


def _read_run(request: requests.ReadRun, progress: Progress) -> results.RunContent:  # noqa: ARG001 - it takes no time
    record = Workspace(request.workspace).run(request.run)
    return results.RunContent(record.id, record.recipe, record.result.layers)


def _warm_up(request: requests.WarmUp, progress: Progress) -> results.Ready:  # noqa: ARG001 - it asks for nothing
    for room in _WARM:
        progress.check_cancelled()
        with _importing(room):
            import_module(room)
        time.sleep(0.01)  # let whoever waits for the lock have it
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return results.Ready(device, torch.get_num_threads())


def _keep(result: M, source: str, workspace: str) -> M:
    """Keep a measurement with the run it was made on: the run itself, or a folder that was exported from it."""
    from benchvise.core.export.provenance import run_of_export

    kept = Workspace(workspace)
    run = source if source.startswith(RUN_PREFIX) else run_of_export(Path(source))
    if run and kept.has_run(run):
        kept.record_measurement(run, result)
    return result


_HANDLERS: dict[type, Handler] = {
    requests.Open: _open,
    requests.MakePlan: _plan,
    requests.CheckRecipe: _check,
    requests.Allocate: _allocate,
    requests.WhatIf: _in("benchvise.core.sensitivity.what_if", "what_if"),
    requests.Look: _in("benchvise.core.analysis.plain_look", "look"),
    requests.LookMap: _in("benchvise.core.analysis.look", "look_map"),
    requests.LookChannels: _in("benchvise.core.analysis.look", "look_channels"),
    requests.LookSpectrum: _in("benchvise.core.sensitivity.spectrum", "look_spectrum"),
    requests.MeasureSensitivity: _in("benchvise.core.sensitivity.measure", "measure_sensitivity"),
    requests.KnownSensitivity: known_sensitivity,
    requests.Compress: _compress,
    requests.Evaluate: _evaluate,
    requests.MeasureLatency: _latency,
    requests.ForecastLatency: _forecast,
    requests.ForecastCosts: _in("benchvise.core.runtime.costs", "forecast_costs"),
    requests.MeasureProfile: _in("benchvise.core.runtime.measure_profile", "measure_profile"),
    requests.ForecastJob: _in("benchvise.core.estimate.job_forecast", "forecast_job"),
    requests.Generate: _in("benchvise.core.evaluate.generate", "generate"),
    requests.Export: _in("benchvise.core.export.export", "export"),
    requests.Convert: _in("benchvise.core.export.convert", "convert"),
    requests.CompareLayers: _in("benchvise.core.analysis.differences", "compare_layers"),
    requests.MakeReport: _in("benchvise.core.report.make", "make_report"),
    requests.Reproduce: _in("benchvise.core.report.reproduce", "reproduce"),
    requests.SizeCandidates: _size_candidates,
    requests.ListRuns: _list_runs,
    requests.ReadRun: _read_run,
    requests.WarmUp: _warm_up,
}
