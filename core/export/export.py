"""A run, or a folder that was written from one, as a checkpoint that a named runtime loads."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchvise.core.checkpoint.companions import carried_name
from benchvise.core.errors import CheckpointError
from benchvise.core.export.choose_target import accepted, key_for
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.folder import check_output, output_place, require_space, write_file
from benchvise.core.export.loadable_plan import loadable_plan, loadable_preview
from benchvise.core.export.provenance import (
    FOLDER,
    RUN,
    Provenance,
    provenance_of_folder,
    provenance_of_run,
    run_of_export,
)
from benchvise.core.export.target import Target
from benchvise.core.export.targets.registry import target_of
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Export
from benchvise.core.protocol.results import Exported
from benchvise.core.recipe.plan import Plan
from benchvise.core.weights.open import open_weights, run_weights
from benchvise.core.weights.weights import Weights
from benchvise.core.wording import sentences
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import RUN_PREFIX, Workspace

_CONFIG = "config.json"


@dataclass(frozen=True)
class ExportSource:
    """Where an export comes from: `run` is None when it is a folder or a file."""

    weights: Weights
    run: RunRecord | None

    def inputs(self) -> list[Path]:
        """What is read, and so never written to."""
        workspace = [self.run.folder, *self.run.layer_files.values()] if self.run is not None else []
        return [Path(self.weights.checkpoint.path), *workspace]

    def provenance(self, plan: ExportPlan) -> Provenance:
        if self.run is not None:
            return provenance_of_run(self.run, self.weights, plan.target, sentences(plan.plan_warnings))
        place = Path(self.weights.checkpoint.path)
        return provenance_of_folder(
            place if place.is_dir() else place.parent, plan.target, sentences(plan.plan_warnings)
        )


@dataclass(frozen=True)
class _Beside:
    """What lies in the folder beside the weights: companions of the checkpoint as they are, provenance, and samples."""

    companions: Mapping[Path, Path]
    """Where each lies in the folder, by where it comes from."""
    provenance: Provenance
    samples: Mapping[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        texts = sum(len(text.encode()) for text in (*self.provenance.files.values(), *self.samples.values()))
        return texts + sum(path.stat().st_size for path in self.companions)

    def write(self, folder: Path) -> None:
        for path, place in self.companions.items():
            (folder / place).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / place)
        for name, text in self.samples.items():
            write_file(folder / name, text)
        if self.provenance.files:
            (folder / FOLDER).mkdir()
        for name, text in self.provenance.files.items():
            write_file(folder / FOLDER / name, text)


def export(request: Export, progress: Progress) -> Exported:
    """Write the run as `request.target` ("auto" chooses) to `request.out`, which appears whole or not at all.

    Raises OutputError for a place that cannot be written to, a target that cannot hold the run or cannot be written
    here, UserError or CheckpointError for a run that cannot be read, and Cancelled; nothing is left behind then.
    """
    source = _open(request)
    exported = write_source(source, _planned(request, source.weights), request.out, progress)
    if source.run is not None:
        Workspace(request.workspace).record_measurement(source.run.id, exported)
    return exported


def write_source(
    source: ExportSource,
    plan: ExportPlan,
    out_path: str,
    progress: Progress,
    also: Callable[[Path], None] | None = None,
) -> Exported:
    """Write the weights of `source` as `plan` says to `out_path`, which appears whole or not at all.

    also: writes further files into the folder. Raises OutputError and Cancelled as `export`.
    """
    weights, target = source.weights, target_of(plan.target)
    suffix = target.file_suffix(out_path)
    out = check_output(out_path, source.inputs(), suffix=suffix)
    for warning in sentences(plan.plan_warnings):
        progress.note(warning)
    beside = _beside(target, source, plan, suffix)
    with output_place(out, single_file=bool(suffix)) as place:
        require_space(out.parent, target.disk_bytes(plan) + beside.nbytes)
        target.write(place, plan, weights, progress)
        beside.write(place)
        target.verify(place, plan, weights, progress)
        if also is not None:
            also(place)
        verified = target.run(place, plan, weights, progress)
        if verified:
            progress.note(f"verified: {verified}")
        return replace(_exported(out, place, plan), verified=verified)


def written_before(request: Export, progress: Progress) -> Exported | None:
    """What `export` would return, when an earlier process already wrote it: the output is this run's, and whole.

    Every byte is compared. None when anything else lies there, or nothing. Raises as `export` does for the run.
    """
    out = Path(request.out).expanduser().resolve()
    source = _open(request)
    if source.run is None or not out.exists():
        return None
    plan = _planned(request, source.weights)
    if not _holds(out, plan, source, progress):
        return None
    exported = _exported(out, out, plan)
    if not any(known["out"] == exported.out for known in source.run.measurements().get("exports", [])):
        source.run.add_measurement(exported)
    return exported


def _planned(request: Export, weights: Weights) -> ExportPlan:
    return accepted(loadable_plan(key_for(request.target, request.out), weights))


def _holds(out: Path, plan: ExportPlan, source: ExportSource, progress: Progress) -> bool:
    """Whether the output holds the weights, and a folder the companions and the run's provenance, as written."""
    target = target_of(plan.target)
    try:
        if not target.file_suffix(out):
            described = json.loads((out / FOLDER / RUN).read_text(encoding="utf-8"))
            companions = _beside(target, source, plan, "").companions
            same = all(filecmp.cmp(path, out / name, shallow=False) for path, name in companions.items())
            run = source.run.id if source.run is not None else ""
            if not same or run_of_export(out) != run or described["target"] != plan.target:
                return False
        target.verify(out, plan, source.weights, progress)
    except (OSError, ValueError, KeyError, RuntimeError, CheckpointError):
        return False
    return True


def preview(plan: Plan, target: str, out: str = "", earlier: RunRecord | None = None) -> ExportPlan:
    """What an export of the finished plan to `out` will be.

    earlier: a run of the plan that is resumed; what it may have written to `out` is not refused.
    Raises OutputError when the target cannot hold it, or `out` cannot be written to.
    """
    found = accepted(loadable_preview(plan, key_for(target, out)))
    suffix = target_of(found.target).file_suffix(out)
    if out and not (earlier is not None and may_be_written_by(earlier, Path(out).expanduser(), suffix)):
        check_output(out, (Path(plan.checkpoint.path),), suffix=suffix)
    return found


def may_be_written_by(run: RunRecord, out: Path, suffix: str) -> bool:
    """Whether `out` may be of the run. A file names none: beside a finished run it is compared when it is exported."""
    return (run.state == "done" and out.is_file()) if suffix else run_of_export(out) == run.id


def _open(request: Export) -> ExportSource:
    folder = Path(request.run).expanduser()
    if request.run.startswith(RUN_PREFIX) or not folder.is_dir():
        run = Workspace(request.workspace).run(request.run)
        return ExportSource(run_weights(run), run)
    weights = open_weights(str(folder), request.workspace)
    if weights.checkpoint.quantization is None and not (folder / FOLDER / RUN).is_file():
        raise CheckpointError(
            "The folder holds an original checkpoint, not a run",
            where=str(folder),
            remedy="Name a run of the workspace, or a folder that `benchvise compress --out` wrote.",
        )
    return ExportSource(weights, None)


def _beside(target: Target, source: ExportSource, plan: ExportPlan, suffix: str) -> _Beside:
    """What lies beside the weights; nothing beside a single file, which has a suffix."""
    if suffix:
        return _Beside({}, Provenance({}))
    companions = source.weights.checkpoint.companions if target.companions else ()
    root = Path(source.weights.checkpoint.path)
    found = {Path(path): carried_name(Path(path), root) for path in companions}
    # A config says how the weights are stored: only the target can write it.
    files = {path: name for path, name in found.items() if name != Path(_CONFIG)}
    return _Beside(files, source.provenance(plan), target.samples(plan))


def _exported(out: Path, place: Path, plan: ExportPlan) -> Exported:
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    root = place if place.is_dir() else place.parent
    return Exported(
        out=str(out),
        target=plan.target,
        bytes_on_disk=sum(path.stat().st_size for path in files),
        files=tuple(path.relative_to(root).as_posix() for path in files),
        warnings=plan.plan_warnings,
    )
