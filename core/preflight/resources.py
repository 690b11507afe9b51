"""Whether a job fits: on the disks, in memory, in the GPU; and how long it takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import OutputError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.folder import check_output
from benchvise.core.export.targets.registry import target_of
from benchvise.core.methods.calibration import Calibration
from benchvise.core.preflight import changes
from benchvise.core.preflight.facts import Facts
from benchvise.core.preflight.wording import capital
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Estimate, Finding, Fix
from benchvise.core.recipe.plan import Plan
from benchvise.core.text import byte_text, estimated_bytes, estimated_duration
from benchvise.core.workspace.atomic_files import workspace_path

NOT_FORECAST = ("memory unknown", "time unknown")
"""Kinds of findings that a forecast of the job would answer."""

_FLOAT32 = 4
_NEARLY_FULL = 0.9
_NOT_YET = (
    "It has not been forecast yet for this recipe on this machine: press Forecast (--forecast on the command line)"
)


def disk_findings(plan: Plan, export_plan: ExportPlan, request: CheckRecipe, facts: Facts) -> Iterator[Finding]:
    """What workspace and output folder need, added up where they lie on one disk, and what is free there."""
    companions = sum(os.stat(path).st_size for path in plan.checkpoint.companions if os.path.exists(path))  # noqa: PTH110, PTH116 - plain names
    needs = [("the workspace", workspace_path(request.workspace), workspace_bytes(plan))]
    if request.out and not facts.own_output:
        try:
            suffix = target_of(export_plan.target).file_suffix(request.out)
            place = check_output(request.out, (Path(plan.checkpoint.path),), suffix=suffix)
        except OutputError as error:
            yield Finding("output", "blocks", error.what, f"{error.where}. {error.remedy}".removeprefix(". "))
            return
        needs.append(("the output folder", place, export_plan.nbytes + companions))
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for name, place, need in needs:
        existing = next(path for path in (place, *place.parents) if path.exists())
        disks.setdefault(existing.stat().st_dev, []).append((name, existing, need))
    for parts in disks.values():
        yield _disk(parts)


def _disk(parts: list[tuple[str, Path, int]]) -> Finding:
    free = shutil.disk_usage(parts[0][1]).free
    need = sum(part for _, _, part in parts)
    listed = " and ".join(f"{byte_text(part)} for {name}" for name, _, part in parts)
    where = " and ".join(name for name, _, _ in parts)
    if need > free:
        title = f"The disk is too small: {byte_text(need)} are needed, {byte_text(free)} are free"
        return Finding("disk", "blocks", title, f"{capital(listed)}. Free space, or choose other folders.")
    if need > _NEARLY_FULL * free:
        title = f"The disk will be nearly full: {byte_text(need)} of {byte_text(free)}"
        return Finding("disk", "warns", title, f"{capital(listed)}.")
    return Finding("disk", "fine", f"Fits on the disk of {where}", f"{capital(listed)}; {byte_text(free)} are free.")


def workspace_bytes(plan: Plan) -> int:
    """What a run leaves in the workspace, and what it keeps there for going on after an interruption."""
    treated = sum(row.bytes_after for row in plan.treated_rows)
    transformed = plan.recipe.transforms or plan.recipe.tuning
    kept = sum(row.layer.nbytes for row in plan.rows() if row.treatment.keeps) if transformed else 0
    return treated + kept + _hidden_bytes(plan)


def _hidden_bytes(plan: Plan) -> int:
    """Hidden states of all windows, as they were and as they are after the layers compressed so far."""
    width = plan.checkpoint.config.get("hidden_size")
    if plan.calibration is None or not isinstance(width, int):
        return 0
    return 2 * plan.calibration.windows * plan.calibration.window_tokens * width * _FLOAT32


def memory_findings(plan: Plan, facts: Facts) -> Iterator[Finding]:
    """Whether the job fits in memory: by its forecast, else by the least that it takes."""
    least, why = least_bytes(plan)
    fixes = tuple(_lighter(plan))
    peak = facts.peak_bytes
    total, free = byte_text(facts.memory_total), byte_text(facts.memory_free)
    if least > facts.memory_total:
        title = f"Does not fit in memory: it takes {byte_text(least)} at least, and there are {total}"
        yield Finding("memory", "blocks", title, f"{why}.", fixes=fixes)
    elif peak is not None and peak.low > facts.memory_total:
        title = f"Does not fit in memory: {_size_of(peak)}, and there are {total}"
        yield Finding("memory", "blocks", title, "By the forecast of the job.", fixes=fixes)
    elif peak is not None and peak.high > facts.memory_free:
        title = f"May not fit in memory: {_size_of(peak)}, and {free} are free"
        yield Finding("memory", "warns", title, "By the forecast of the job. Close other programs.", fixes=fixes)
    elif peak is not None:
        title = f"Fits in memory: {_size_of(peak)} of {free}"
        yield Finding("memory", "fine", title, "By the forecast of the job.")
    elif least > facts.memory_free:
        title = f"Does not fit beside what runs now: {byte_text(least)} at least, and {free} are free"
        yield Finding("memory", "warns", title, f"{why}. Close other programs.", fixes=fixes)
    else:
        floor = f" That takes {byte_text(least)} at least." if least else ""
        detail = f"{why}.{floor} {_NOT_YET}."
        yield Finding(NOT_FORECAST[0], "tells", "How much memory it takes is not forecast yet", detail)
    if facts.gpu_free and least > facts.gpu_free:
        title = f"May not fit on the GPU: {byte_text(least)} at least, and {byte_text(facts.gpu_free)} are free there"
        yield Finding("gpu memory", "warns", title, f"{why}.", fixes=fixes)


def time_findings(facts: Facts) -> Iterator[Finding]:
    if facts.seconds is not None:
        seconds = facts.seconds
        title = f"Takes {estimated_duration(seconds.value, seconds.low, seconds.high)}"
        yield Finding("time", "tells", title, "By the forecast of the job.")
    else:
        yield Finding(NOT_FORECAST[1], "tells", "How long it takes is not forecast yet", f"{_NOT_YET}.")


def least_bytes(plan: Plan) -> tuple[int, str]:
    """Memory without which the job cannot be done, in bytes, and what it is for; the real peak is higher."""
    layers = plan.checkpoint.layers
    if plan.recipe.tuning and plan.checkpoint.architecture:
        both = _FLOAT32 * (plan.source.parameters + plan.checkpoint.parameters)
        return both, "Tuning keeps the original and the compressed network in memory as a whole, in float32"
    if plan.calibration is not None or (plan.recipe.transforms and plan.checkpoint.architecture):
        block = _FLOAT32 * (_largest_block(layers) + sum(layer.parameters for layer in layers if layer.depth is None))
        return block, "One block and what lies around the blocks are in memory, in float32"
    largest = max((row.layer.nbytes for row in plan.treated_rows if row.treatment.scheme.shared), default=0)
    return largest, "Layers are read and written in pieces"


def _largest_block(layers: Iterable[Layer]) -> int:
    blocks: dict[int, int] = {}
    for layer in layers:
        if layer.depth is not None:
            blocks[layer.depth] = blocks.get(layer.depth, 0) + layer.parameters
    return max(blocks.values(), default=0)


def _lighter(plan: Plan) -> Iterator[Fix]:
    if plan.recipe.tuning:
        yield Fix("Do without tuning", changes.without_tuning(plan.recipe))
    if plan.calibration is not None or plan.recipe.transforms:
        yield Fix("Use the streaming nearest solver", changes.streaming(plan.recipe))
    fewer = Calibration().windows // 4
    if plan.calibration is not None and plan.calibration.windows > fewer:
        yield Fix(f"Use {fewer} calibration windows", changes.with_windows(plan.recipe, fewer))


def _size_of(peak: Estimate) -> str:
    return estimated_bytes(peak.value, peak.low, peak.high)
