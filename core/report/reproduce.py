"""A report's recipe carried out again, and held against its hashes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchvise.core.errors import UserError
from benchvise.core.job.job import compress
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Compress, Reproduce
from benchvise.core.protocol.results import Reproduced
from benchvise.core.recipe.editing import set_calibration
from benchvise.core.recipe.recipe import Recipe, parse_recipe
from benchvise.core.report.gather import checkpoint_files, hashes, versions
from benchvise.core.report.make import read_report
from benchvise.core.weights.open import open_weights
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace


def reproduce(request: Reproduce, progress: Progress) -> Reproduced:
    """Carry out the recipe of the report in a workspace that is thrown away, and compare every layer's hash.

    Raises UserError for a report, checkpoint or text that cannot be read, or a checkpoint other than the report's.
    """
    report = read_report(request.report)
    kept = _kept(request.workspace, str(report["run"]))
    path = request.path or (kept.checkpoint_path if kept is not None else "")
    if not path:
        what = f"The workspace does not know the run {report['run']}, so its checkpoint is not known"
        raise UserError(what, where=request.report, remedy="Name the checkpoint: benchvise reproduce REPORT PATH.")
    found = dict(hashes(checkpoint_files(open_weights(path)), progress))
    expected = {str(name): str(digest) for name, digest in _pairs(report["files"])}
    if found != expected:
        names = ", ".join(
            sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        )
        what = f"This is not the checkpoint of the report: {names} differ"
        raise UserError(what, where=path, remedy=f"The report was made of '{report.get('checkpoint', '')}'.")
    recipe = _recipe(report, kept, request)
    with tempfile.TemporaryDirectory(prefix="benchvise-reproduce-") as workspace:
        run = compress(Compress(path, recipe, workspace=workspace), progress)
        ours = {entry.result.name: entry.sha256 for entry in Workspace(workspace).run(run.run).journal()}
    theirs = {str(layer["name"]): str(layer["sha256"]) for layer in _records(report["layers"])}
    treated = {layer.name for layer in run.layers} | theirs.keys()
    same = tuple(name for name in theirs if ours.get(name) == theirs[name])
    different = tuple(sorted(treated - set(same)))
    return Reproduced(str(report["run"]), same, different, tuple(_changes(report)))


def _kept(workspace: str, run: str) -> RunRecord | None:
    kept = Workspace(workspace)
    return kept.run(run) if kept.has_run(run) else None


def _recipe(report: Mapping[str, Any], kept: RunRecord | None, request: Reproduce) -> Recipe:
    """The report's recipe, with the calibration text that is asked for or that the kept run names in full."""
    recipe = parse_recipe(str(report["recipe"]), where=request.report)
    text = request.text or (kept.recipe.calibration.text if kept is not None else "")
    return set_calibration(recipe, replace(recipe.calibration, text=str(Path(text).expanduser()))) if text else recipe


def _changes(report: Mapping[str, Any]) -> Iterator[str]:
    now = dict(versions())
    for name, then in _pairs(report.get("versions", ())):
        if now.get(str(name)) != then:
            yield f"{name} is {now.get(str(name), 'not installed')} here, and was {then}"
    if report.get("threads") != torch.get_num_threads():
        yield f"{torch.get_num_threads()} threads here, and {report.get('threads')} then"


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    return [(each[0], each[1]) for each in value if isinstance(each, (list, tuple)) and len(each) == 2]


def _records(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict) and {"name", "sha256"} <= each.keys()]
