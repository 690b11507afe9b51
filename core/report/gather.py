"""The facts of a report. Layers are read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchvise.core.evaluate.generate import generate
from benchvise.core.export.provenance import without_folders
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Generate, KnownSensitivity, MakeReport
from benchvise.core.protocol.results import (
    Evaluation,
    Latency,
    Report,
    ReportExport,
    ReportHistogram,
    ReportLayer,
    Timing,
)
from benchvise.core.recipe.plan_warning import parse_plan_warning
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.machine import device_name
from benchvise.core.sensitivity.known import known_sensitivity
from benchvise.core.weights.open import run_weights
from benchvise.core.weights.weights import OriginalWeights, Weights
from benchvise.core.wording import sentences
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import RUN_PREFIX

PACKAGES = ("benchvise", "torch", "transformers", "numpy", "safetensors")
_BINS, _WORST, _CHUNK = 60, 4, 1 << 22


def gathered(run: RunRecord, request: MakeReport, progress: Progress) -> Report:
    """Everything that is known of the run, and hashes of the checkpoint's files.

    Raises UserError and CheckpointError where run or checkpoint cannot be read, and Cancelled.
    """
    weights = run_weights(run)
    checkpoint, result, measured = weights.checkpoint, run.result, run.measurements()
    layers = _layers(run, request.workspace, progress)
    known = any(layer.kl is not None for layer in layers)
    worst = sorted(layers, key=lambda each: -(each.kl or 0.0) if known else (each.sqnr_db or 0.0))[:_WORST]
    prompt = Generate(f"{RUN_PREFIX}{run.id}", run.checkpoint_path, request.prompt, workspace=request.workspace)
    recipe = without_folders(run.recipe)
    return Report(
        run=run.id,
        checkpoint=Path(run.checkpoint_path).name,
        architecture=checkpoint.architecture,
        files=hashes(checkpoint_files(weights), progress),
        recipe_name=result.recipe_name,
        recipe=recipe.to_yaml(),
        created=run.manifest.created,
        bits_per_weight=result.bits_per_weight,
        bytes_before=result.bytes_before,
        bytes_after=result.bytes_after,
        seconds=result.seconds,
        peak_rss_bytes=result.peak_rss_bytes,
        warnings=sentences(result.warnings),
        layers=layers,
        histograms=tuple(found for each in worst if (found := _histogram(weights, each.name, progress)) is not None),
        evaluation=_evaluation(measured.get("evaluation")),
        latency=_latency(measured.get("latency")),
        generations=generate(prompt, progress) if request.prompt else None,
        exports=tuple(map(_export, measured.get("exports", ()))),
        versions=versions(),
        machine=device_name(compute_device()),
        threads=torch.get_num_threads(),
    )


def versions() -> tuple[tuple[str, str], ...]:
    """(package, version) of what a result depends on; a checkout without one is "from source"."""
    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "from source"))
    return tuple(found)


def checkpoint_files(weights: Weights) -> list[Path]:
    """The files in which the weights of the opened checkpoint lie."""
    original = getattr(weights, "original", weights)
    return sorted({Path(layer.tensor.file) for layer in original.checkpoint.layers if layer.tensor.file})


def hashes(files: list[Path], progress: Progress) -> tuple[tuple[str, str], ...]:
    """(name, sha256) of the files, read in blocks. Raises OSError as the file system does, and Cancelled."""
    found = []
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                progress.check_cancelled()
                digest.update(block)
        found.append((path.name, digest.hexdigest()))
    return tuple(found)


def _layers(run: RunRecord, workspace: str, progress: Progress) -> tuple[ReportLayer, ...]:
    known = known_sensitivity(KnownSensitivity(run.checkpoint_path, workspace), progress)
    increase = {(cell.layer, cell.treatment): cell.kl for cell in known.cells}
    treated = {layer.name: layer for layer in run.result.layers}
    kl = {name: increase.get((name, layer.treatment)) for name, layer in treated.items()}
    whole = sum(value for value in kl.values() if value is not None)
    digests = {entry.result.name: entry.sha256 for entry in run.journal()}
    return tuple(
        ReportLayer(
            name=name,
            treatment=layer.treatment,
            bits_per_weight=layer.bits_per_weight,
            bytes_before=layer.bytes_before,
            bytes_after=layer.bytes_after,
            sqnr_db=layer.sqnr_db,
            max_error=layer.max_error,
            kl=kl[name],
            kl_share=_share(kl[name], whole),
            sha256=digests[name],
            notes=layer.notes,
        )
        for name, layer in treated.items()
    )


def _share(kl: float | None, whole: float) -> float | None:
    return None if kl is None or whole <= 0 else kl / whole


def _histogram(weights: Weights, name: str, progress: Progress) -> ReportHistogram | None:
    """None for a layer without finite values or spread."""
    progress.check_cancelled()
    original: Weights = getattr(weights, "original", OriginalWeights(weights.checkpoint))
    before = original.dense(original.checkpoint.layer(name)).float().numpy()
    low, high = float(before.min()), float(before.max())
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        return None
    after = weights.dense(weights.checkpoint.layer(name)).float().numpy().clip(low, high)
    counts = [np.histogram(values, _BINS, (low, high))[0].tolist() for values in (before, after)]
    return ReportHistogram(name, low, high, tuple(counts[0]), tuple(counts[1]))


def _evaluation(found: Mapping[str, Any] | None) -> Evaluation | None:
    return None if found is None else replace(Evaluation(**found), source="", against="")


def _latency(found: Mapping[str, Any] | None) -> Latency | None:
    if found is None:
        return None
    timing, against = Timing(**found["timing"]), found.get("against")
    return Latency(**{**found, "source": "", "timing": timing, "against": Timing(**against) if against else None})


def _export(found: Mapping[str, Any]) -> ReportExport:
    warnings = sentences(parse_plan_warning(each) for each in found.get("warnings", ()))
    target, size, files = found["target"], found["bytes_on_disk"], tuple(found["files"])
    return ReportExport(target, size, files, found.get("verified", ""), warnings)
