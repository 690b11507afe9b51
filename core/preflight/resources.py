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
from benchvise.core.language import capital, message
from benchvise.core.methods.calibration import Calibration
from benchvise.core.preflight import changes
from benchvise.core.preflight.facts import Facts
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Estimate, Finding, Fix
from benchvise.core.recipe.plan import Plan
from benchvise.core.text import byte_text, estimated_bytes, estimated_duration
from benchvise.core.workspace.atomic_files import workspace_path

NOT_FORECAST = ("memory unknown", "time unknown")
"""Kinds of findings that a forecast of the job would answer."""

_FLOAT32 = 4
_NEARLY_FULL = 0.9
_NOT_YET = message(
    "It has not been forecast yet for this recipe on this machine: press Forecast (--forecast on the command line)"
)


def disk_findings(plan: Plan, export_plan: ExportPlan, request: CheckRecipe, facts: Facts) -> Iterator[Finding]:
    """What workspace and output folder need, added up where they lie on one disk, and what is free there."""
    companions = sum(os.stat(path).st_size for path in plan.checkpoint.companions if os.path.exists(path))  # noqa: PTH110, PTH116 - plain names
    needs = [(message("the workspace"), workspace_path(request.workspace), workspace_bytes(plan))]
    if request.out and not facts.own_output:
        try:
            suffix = target_of(export_plan.target).file_suffix(request.out)
            place = check_output(request.out, (Path(plan.checkpoint.path),), suffix=suffix)
        except OutputError as error:
            yield Finding("output", "blocks", error.what, f"{error.where}. {error.remedy}".removeprefix(". "))
            return
        needs.append((message("the output folder"), place, export_plan.nbytes + companions))
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for name, place, need in needs:
        existing = next(path for path in (place, *place.parents) if path.exists())
        disks.setdefault(existing.stat().st_dev, []).append((name, existing, need))
    for parts in disks.values():
        yield _disk(parts)


def _disk(parts: list[tuple[str, Path, int]]) -> Finding:
    free = shutil.disk_usage(parts[0][1]).free
    need = sum(part for _, _, part in parts)
    listed = message(" and ").join(
        message("{part} for {name}", part=byte_text(part), name=name) for name, _, part in parts
    )
    where = message(" and ").join(name for name, _, _ in parts)
    if need > free:
        title = message(
            "The disk is too small: {need} are needed, {free} are free", need=byte_text(need), free=byte_text(free)
        )
        return Finding(
            "disk", "blocks", title, message("{listed}. Free space, or choose other folders.", listed=capital(listed))
        )
    if need > _NEARLY_FULL * free:
        title = message("The disk will be nearly full: {need} of {free}", need=byte_text(need), free=byte_text(free))
        return Finding("disk", "warns", title, message("{sentence}.", sentence=capital(listed)))
    return Finding(
        "disk",
        "fine",
        message("Fits on the disk of {where}", where=where),
        message("{listed}; {free} are free.", listed=capital(listed), free=byte_text(free)),
    )


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
        title = message(
            "Does not fit in memory: it takes {least} at least, and there are {total}",
            least=byte_text(least),
            total=total,
        )
        yield Finding("memory", "blocks", title, f"{why}.", fixes=fixes)
    elif peak is not None and peak.low > facts.memory_total:
        title = message("Does not fit in memory: {size_of}, and there are {total}", size_of=_size_of(peak), total=total)
        yield Finding("memory", "blocks", title, message("By the forecast of the job."), fixes=fixes)
    elif peak is not None and peak.high > facts.memory_free:
        title = message("May not fit in memory: {size_of}, and {free} are free", size_of=_size_of(peak), free=free)
        yield Finding(
            "memory", "warns", title, message("By the forecast of the job. Close other programs."), fixes=fixes
        )
    elif peak is not None:
        title = message("Fits in memory: {size_of} of {free}", size_of=_size_of(peak), free=free)
        yield Finding("memory", "fine", title, message("By the forecast of the job."))
    elif least > facts.memory_free:
        title = message(
            "Does not fit beside what runs now: {least} at least, and {free} are free",
            least=byte_text(least),
            free=free,
        )
        yield Finding("memory", "warns", title, message("{why}. Close other programs.", why=why), fixes=fixes)
    else:
        floor = message(" That takes {least} at least.", least=byte_text(least)) if least else ""
        detail = f"{why}.{floor} {_NOT_YET}."
        yield Finding(NOT_FORECAST[0], "tells", message("How much memory it takes is not forecast yet"), detail)
    if facts.gpu_free and least > facts.gpu_free:
        title = message(
            "May not fit on the GPU: {least} at least, and {gpu_free} are free there",
            least=byte_text(least),
            gpu_free=byte_text(facts.gpu_free),
        )
        yield Finding("gpu memory", "warns", title, f"{why}.", fixes=fixes)


def time_findings(facts: Facts) -> Iterator[Finding]:
    if facts.seconds is not None:
        seconds = facts.seconds
        title = message(
            "Takes {estimated_duration}",
            estimated_duration=estimated_duration(seconds.value, seconds.low, seconds.high),
        )
        yield Finding("time", "tells", title, message("By the forecast of the job."))
    else:
        yield Finding(
            NOT_FORECAST[1],
            "tells",
            message("How long it takes is not forecast yet"),
            message("{sentence}.", sentence=_NOT_YET),
        )


def least_bytes(plan: Plan) -> tuple[int, str]:
    """Memory without which the job cannot be done, in bytes, and what it is for; the real peak is higher."""
    layers = plan.checkpoint.layers
    if plan.recipe.tuning and plan.checkpoint.architecture:
        both = _FLOAT32 * (plan.source.parameters + plan.checkpoint.parameters)
        return both, message("Tuning keeps the original and the compressed network in memory as a whole, in float32")
    if plan.calibration is not None or (plan.recipe.transforms and plan.checkpoint.architecture):
        block = _FLOAT32 * (_largest_block(layers) + sum(layer.parameters for layer in layers if layer.depth is None))
        return block, message("One block and what lies around the blocks are in memory, in float32")
    largest = max((row.layer.nbytes for row in plan.treated_rows if row.treatment.scheme.shared), default=0)
    return largest, message("Layers are read and written in pieces")


def _largest_block(layers: Iterable[Layer]) -> int:
    blocks: dict[int, int] = {}
    for layer in layers:
        if layer.depth is not None:
            blocks[layer.depth] = blocks.get(layer.depth, 0) + layer.parameters
    return max(blocks.values(), default=0)


def _lighter(plan: Plan) -> Iterator[Fix]:
    if plan.recipe.tuning:
        yield Fix(message("Do without tuning"), changes.without_tuning(plan.recipe))
    if plan.calibration is not None or plan.recipe.transforms:
        yield Fix(message("Use the streaming nearest solver"), changes.streaming(plan.recipe))
    fewer = Calibration().windows // 4
    if plan.calibration is not None and plan.calibration.windows > fewer:
        yield Fix(message("Use {fewer} calibration windows", fewer=fewer), changes.with_windows(plan.recipe, fewer))


def _size_of(peak: Estimate) -> str:
    return estimated_bytes(peak.value, peak.low, peak.high)
