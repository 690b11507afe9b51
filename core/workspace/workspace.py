"""The folder that keeps results: layer records addressed by what went into them, runs, measurements."""

from __future__ import annotations

import logging
import secrets
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import OutputError, UserError
from benchvise.core.protocol.results import Estimate, RunSummary
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.workspace.atomic_files import workspace_path, write_text
from benchvise.core.workspace.disk import cannot_write, make_folders
from benchvise.core.workspace.forecasts import ForecastBook, bias
from benchvise.core.workspace.run_record import (
    MANIFEST,
    RECIPE,
    SURGERY,
    Manifest,
    RunMeasurement,
    RunRecord,
    this_process,
    write_manifest,
)

RUN_PREFIX = "run:"

_LOG = logging.getLogger(__name__)
_LOGGED: set[Path] = set()
"""Folders of damaged runs that were logged already."""


class Workspace:
    """A workspace at `path`; "" for $BENCHVISE_WORKSPACE or the user's data folder. Created when first written to."""

    def __init__(self, path: str = "") -> None:
        self.path = workspace_path(path)

    @property
    def layers(self) -> Path:
        return self.path / "layers"

    @property
    def forecasts(self) -> ForecastBook:
        return ForecastBook(self.path / "forecasts")

    def runs(self) -> tuple[RunSummary, ...]:
        """All runs that can be read, newest first. A damaged one does not hide the others; it is logged once."""
        found = []
        for record in self.records():
            try:
                found.append(record.summary())
            except UserError as error:
                _log_once(record.folder, error)
        return tuple(sorted(found, key=lambda run: run.created, reverse=True))

    def run(self, run: str) -> RunRecord:
        """A run by its id, with or without "run:". Raises UserError when there is none."""
        name = run.removeprefix(RUN_PREFIX)
        if not self.has_run(name):
            raise UserError(
                f"There is no run '{name}'",
                where=str(self.path),
                remedy="`benchvise runs` lists the runs of a workspace.",
            )
        return RunRecord(self.path / "runs" / name, self.layers, self.forecasts)

    def has_run(self, run: str) -> bool:
        """Whether there is a run of that id, with or without "run:"."""
        name = run.removeprefix(RUN_PREFIX)
        return bool(name) and Path(name).name == name and (self.path / "runs" / name / MANIFEST).is_file()

    def resumable(self, plan: Plan) -> RunRecord | None:
        """The newest run of the same checkpoint and recipe that no process is working on, or None."""
        found = [run for run in self._runs_of(plan) if run.state != "running"]
        return max(found, key=lambda run: run.manifest.created, default=None)

    def at_work(self, plan: Plan) -> RunRecord | None:
        """The newest run of the same checkpoint and recipe that a process is working on, or None."""
        found = [run for run in self._runs_of(plan) if run.state == "running"]
        return max(found, key=lambda run: run.manifest.created, default=None)

    def _runs_of(self, plan: Plan) -> list[RunRecord]:
        named = (checkpoint_identity(plan.source), plan.recipe.digest)
        return [
            run for run in self.records() if (run.manifest.checkpoint_identity, run.manifest.recipe_digest) == named
        ]

    def new_run(self, plan: Plan, surgery: tuple[str, ...] = ()) -> RunRecord:
        """Start a run of the plan. Raises OutputError when the workspace cannot be written to.

        surgery: keys of the files with what calibration text left of layers.
        """
        now = datetime.now(UTC)
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        pid, started = this_process()
        manifest = Manifest(
            run=name,
            checkpoint=plan.checkpoint.path,
            checkpoint_identity=checkpoint_identity(plan.source),
            recipe_name=plan.recipe.name or plan_title(plan),
            recipe_digest=plan.recipe.digest,
            created=now.isoformat(timespec="milliseconds"),
            state="running",
            pid=pid,
            started=started,
            bits_per_weight=plan.bits_per_weight,
            bits_per_treated_weight=plan.bits_per_treated_weight,
            bytes_before=plan.bytes_before,
            bytes_after=plan.bytes_after,
            warnings=plan.plan_warnings,
            surgery=surgery,
        )
        folder = self.path / "runs" / name
        try:
            make_folders(folder)
            make_folders(self.layers)
        except OSError as error:
            raise cannot_write(folder, error) from error
        try:
            write_text(folder / RECIPE, plan.recipe.to_yaml())
            write_manifest(folder, manifest)
        except OutputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        run = RunRecord(folder, self.layers, self.forecasts)
        run.enter()
        return run

    def record_measurement(self, run: str, result: RunMeasurement) -> None:
        """Keep a measurement with its run. Raises UserError when there is no such run."""
        self.run(run).add_measurement(result)

    def keep_forecast(
        self,
        checkpoint: Checkpoint,
        recipe: Recipe,
        kind: str,
        estimate: Estimate,
        *,
        raw: float | None = None,
        machine: str = "",
        about: str = "",
    ) -> None:
        """Keep what was just forecast of a recipe, for runs to come to be compared with.

        kind: one of `core.workspace.forecasts.KINDS`; else as `Forecast` says. Raises OutputError.
        """
        identity = checkpoint_identity(checkpoint)
        self.forecasts.keep(identity, recipe.digest, kind, estimate, raw=raw, machine=machine, about=about)

    def forecast_bias(
        self, kind: str, checkpoint: str = "", *, machine: str = "", about: str = ""
    ) -> tuple[float, int]:
        """Median of measured ÷ forecast over past runs, and their number: as `core.workspace.forecasts.bias` says."""
        runs = []
        for record in self.records():
            with suppress(UserError):
                runs.append(record.measured())
        return bias(self.forecasts, runs, kind, checkpoint, machine=machine, about=about)

    def sensitivity_file(self, key: str) -> Path:
        """Where the sensitivities of that key are kept; the folder exists."""
        return self._file("sensitivity", f"{key}.json")

    def sensitivity_files(self) -> tuple[Path, ...]:
        """All files of sensitivities, the one written last first."""
        written: list[tuple[int, Path]] = []
        for file in (self.path / "sensitivity").glob("*.json"):
            with suppress(OSError):  # another process may have removed it
                written.append((file.stat().st_mtime_ns, file))
        return tuple(file for _, file in sorted(written, reverse=True))

    def surgery_file(self, key: str) -> Path:
        """Where the tensors of that key lie that a surgery cut; the folder exists."""
        return self._file(SURGERY, f"{key}.safetensors")

    def decision_file(self, key: str) -> Path:
        """Where the recipe of that key is kept as a run decided it; the folder exists."""
        return self._file("decided", f"{key}.yaml")

    def profile_file(self) -> Path:
        """Where the micro-benchmarks of this machine are kept; the folder exists."""
        return self._file("profiles", "kernels.json")

    def job_rates_file(self) -> Path:
        """Where it is kept how long parts of jobs take on this machine; the folder exists."""
        return self._file("profiles", "jobs.json")

    def _file(self, room: str, name: str) -> Path:
        folder = self.path / room
        try:
            make_folders(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        return folder / name

    def records(self) -> list[RunRecord]:
        """Every run whose manifest can be read, by name. Raises UserError when the folder cannot be read."""
        folder = self.path / "runs"
        try:
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise UserError(
                f"The workspace cannot be read: {error.strerror}", where=str(folder), remedy="Choose another folder."
            ) from error
        records = []
        for entry in entries:
            if (entry / MANIFEST).is_file():
                try:
                    records.append(RunRecord(entry, self.layers, self.forecasts))
                except UserError as error:
                    _log_once(entry, error)
        return records


def _log_once(folder: Path, error: UserError) -> None:
    if folder not in _LOGGED:
        _LOGGED.add(folder)
        _LOG.warning("A run is left out: %s", error)


def plan_title(plan: Plan) -> str:
    """A name for a recipe without one: its treatments, most used first."""
    weights: dict[str, int] = {}
    for row in plan.treated_rows:
        weights[row.treatment.tag] = weights.get(row.treatment.tag, 0) + row.layer.parameters
    tags = sorted(weights, key=lambda tag: -weights[tag])
    tags += [surgery.title for surgery in plan.recipe.surgery if not tags]
    return " + ".join(tags[:3]) + (" + …" if len(tags) > 3 else "")
