"""What lies beside an export in `benchvise/`: the recipe, the run with every layer's treatment, its measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchvise.core.errors import CheckpointError
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.weights.weights import Weights
from benchvise.core.wording import sentences
from benchvise.core.workspace.run_record import MEASUREMENTS, RECIPE, RunRecord

FOLDER = "benchvise"
RUN = "run.json"


@dataclass(frozen=True)
class Provenance:
    """File contents by name."""

    files: Mapping[str, str]


def provenance_of_run(run: RunRecord, weights: Weights, target: str, warnings: tuple[str, ...]) -> Provenance:
    """Of a run of the workspace. Paths of this machine are left out: only the checkpoint's own name remains.

    "changed" lists the layers that are stored as before, but with values that a transform or polish gave them.
    """
    described = asdict(run.result) | {
        "checkpoint": Path(run.checkpoint_path).name,
        "checkpoint_identity": run.manifest.checkpoint_identity,
        "created": run.manifest.created,
        "warnings": list(sentences(run.result.warnings)),
        "out": "",
        "target": target,
        "treatments": {
            layer.name: weights.treatment(layer).to_mapping()
            for layer in weights.checkpoint.layers
            if not weights.treatment(layer).keeps
        },
        "changed": [layer.name for layer in weights.checkpoint.layers if weights.changed(layer)],
        "export_warnings": list(warnings),
    }
    files = {RECIPE: without_folders(run.recipe).to_yaml(), RUN: _json(described)}
    measured = {kind: _without_paths(value) for kind, value in run.measurements().items() if kind != "exports"}
    if measured:
        files[MEASUREMENTS] = _json(measured)
    return Provenance(files)


def provenance_of_folder(folder: Path, target: str, warnings: tuple[str, ...]) -> Provenance:
    """What an earlier export left beside its weights, with the new target. Empty when there is none.

    Raises CheckpointError when it cannot be read.
    """
    files: dict[str, str] = {}
    try:
        for name in (RECIPE, RUN, MEASUREMENTS):
            path = folder / FOLDER / name
            if path.is_file():
                files[name] = path.read_text(encoding="utf-8")
        if RUN in files:
            described = dict(json.loads(files[RUN]))
            files[RUN] = _json(described | {"target": target, "export_warnings": list(warnings)})
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"What was kept beside the weights cannot be read: {error}",
            where=str(folder / FOLDER),
            remedy="Fix or remove that folder; the weights do not need it.",
        ) from error
    return Provenance(files)


def run_of_export(folder: Path) -> str:
    """The id of the run that `folder` was exported from, "" when it is no export or does not say."""
    try:
        described = json.loads((folder / FOLDER / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    run = described.get("run", "") if isinstance(described, dict) else ""
    return run if isinstance(run, str) else ""


def without_folders(recipe: Recipe) -> Recipe:
    """The recipe with its calibration text named without the folders that hold it."""
    return replace(recipe, calibration=replace(recipe.calibration, text=Path(recipe.calibration.text).name))


def _without_paths(measurement: dict[str, Any]) -> dict[str, Any]:
    """A measurement in which sources are named without the folders that hold them."""
    return {
        key: Path(value).name if key in ("source", "against") and isinstance(value, str) else value
        for key, value in measurement.items()
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
