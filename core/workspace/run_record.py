"""One run as it lies in the workspace."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchvise.core.errors import UserError
from benchvise.core.protocol.results import (
    DEFAULT_CONTEXT,
    Comparison,
    Evaluation,
    Exported,
    Latency,
    LayerCompressed,
    Run,
    RunSummary,
)
from benchvise.core.recipe.plan_warning import PlanWarning, parse_plan_warning
from benchvise.core.recipe.recipe import KEEP, Recipe, parse_recipe
from benchvise.core.workspace import journal
from benchvise.core.workspace.atomic_files import write_text
from benchvise.core.workspace.forecasts import ForecastBook, MeasuredRun, compared
from benchvise.core.workspace.journal import JournalEntry
from benchvise.core.workspace.run_lock import RunLock

MANIFEST, RECIPE, JOURNAL, MEASUREMENTS = "run.json", "recipe.yaml", "journal.jsonl", "measurements.json"
LATENCY = "latency"
SURGERY = "surgery"
"""The folder of the workspace with tensors that surgery cut."""
RunMeasurement = Evaluation | Latency | Exported

_AT_WORK: dict[Path, RunLock] = {}
"""The locks of the runs that this process is working on: a run whose end could not be written is not among them."""


@dataclass(frozen=True)
class Manifest:
    """What `run.json` holds. state: "running", "done", "cancelled" or "failed"; pid and started name the process.

    stored_bytes: of all layers as they lie on the disk once the run is done; 0 for runs that did not count them.
    surgery: keys of the files with what calibration text left of layers, in the recipe's order.
    """

    run: str
    checkpoint: str
    checkpoint_identity: str
    recipe_name: str
    recipe_digest: str
    created: str
    state: str
    pid: int
    started: float
    bits_per_weight: float
    bits_per_treated_weight: float
    bytes_before: int
    bytes_after: int
    warnings: tuple[PlanWarning, ...]
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    stored_bytes: int = 0
    surgery: tuple[str, ...] = ()


class RunRecord:
    """A run's folder. `layers` is the folder of the layer records, `book` holds forecasts: shared by all runs of the
    workspace."""

    def __init__(self, folder: Path, layers: Path, book: ForecastBook) -> None:
        self.folder = folder
        self._layers = layers
        self._book = book
        self.manifest = _manifest(folder / MANIFEST)

    @property
    def id(self) -> str:
        return self.manifest.run

    @property
    def checkpoint_path(self) -> str:
        return self.manifest.checkpoint

    @property
    def recipe(self) -> Recipe:
        path = self.folder / RECIPE
        return parse_recipe(path.read_text(encoding="utf-8"), where=str(path))

    @property
    def state(self) -> str:
        """As in the manifest, and "interrupted" when the process that ran it is gone or has given up."""
        manifest = self.manifest
        if manifest.state != "running":
            return manifest.state
        ours = manifest.pid == os.getpid() and self.folder not in _AT_WORK
        return "interrupted" if ours or not _alive(manifest.pid, manifest.started) else "running"

    @property
    def layer_files(self) -> dict[str, Path]:
        """The record of each finished layer, and of each that is kept but was changed, by the layer's name."""
        return {entry.result.name: record_file(self._layers, entry.key) for entry in self.journal()}

    @property
    def surgery_files(self) -> tuple[Path, ...]:
        """The files with what calibration text left of layers, in the order of the recipe's surgery."""
        return tuple(self._layers.parent / SURGERY / f"{key}.safetensors" for key in self.manifest.surgery)

    def journal(self) -> tuple[JournalEntry, ...]:
        """The last entry of each layer, in order of the first."""
        last = {entry.result.name: entry for entry in self.entries()}
        return tuple(last.values())

    def entries(self) -> tuple[JournalEntry, ...]:
        """All entries in the order in which they were written: a layer has one for each time it was recorded."""
        return journal.read(self.folder / JOURNAL)

    def take_up(self) -> None:
        """Lock the run and, unless it is done, name this process as the one that works on it.

        Raises RunBusyError when another process works on the run, and OutputError.
        """
        self.enter()
        try:
            self.manifest = _manifest(self.folder / MANIFEST)
            if self.manifest.state != "done":
                pid, started = this_process()
                self.update(state="running", pid=pid, started=started)
        except BaseException:
            self.leave()
            raise

    def enter(self) -> None:
        """Lock the run, whose manifest names this process already. Raises RunBusyError and OutputError."""
        _AT_WORK[self.folder] = RunLock(self.folder)

    def leave(self) -> None:
        """Free the lock, whatever the manifest says: a full disk may not have taken that."""
        lock = _AT_WORK.pop(self.folder, None)
        if lock is not None:
            lock.release()

    def append(self, key: str, result: LayerCompressed, sha256: str) -> None:
        """Add a finished layer to the journal. sha256: hex digest of its record's file. Raises OutputError."""
        journal.append(self.folder / JOURNAL, journal.JournalEntry(key, result, sha256))

    def update(self, **changes: Any) -> None:
        """Change fields of the manifest. Raises OutputError when the disk does not take it."""
        self.manifest = replace(self.manifest, **changes)
        write_manifest(self.folder, self.manifest)

    @property
    def result(self) -> Run:
        manifest = self.manifest
        return Run(
            manifest.run,
            manifest.checkpoint,
            manifest.recipe_name,
            manifest.bits_per_weight,
            manifest.bits_per_treated_weight,
            manifest.bytes_before,
            manifest.bytes_after,
            tuple(entry.result for entry in self.journal() if entry.result.treatment != KEEP.tag),
            manifest.seconds,
            manifest.peak_rss_bytes,
            manifest.warnings,
        )

    def measurements(self) -> dict[str, Any]:
        """What was measured on the run: the last of each kind, as plain values. Raises UserError for a damaged file."""
        path = self.folder / MEASUREMENTS
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                "The measurements of the run cannot be read", where=str(path), remedy="Delete the file; measure again."
            ) from error

    def add_measurement(self, result: RunMeasurement) -> None:
        """Keep the result: exports one beside the other, of all else the last. Raises UserError as writing does."""
        found = self.measurements()
        if isinstance(result, Exported):
            exports = [*found.get("exports", []), asdict(result)]
            found["exports"] = exports
        else:
            found[_name(result)] = asdict(result)
        write_text(self.folder / MEASUREMENTS, json.dumps(found, indent=1) + "\n")

    def measured(self) -> MeasuredRun:
        """What was measured on the run and can be held against forecasts; nothing before it is done."""
        manifest, found = self.manifest, self.measurements()
        values = {
            "bytes": manifest.stored_bytes,
            "kl": found.get("evaluation", {}).get("kl_mean"),
            "decode_ms": (found.get(LATENCY, {}).get("timing") or {}).get("median_ms"),
            "speed_up": found.get(LATENCY, {}).get("speed_up"),
            "peak_bytes": manifest.peak_rss_bytes,
            "seconds": manifest.seconds,
        }
        known = {kind: float(value) for kind, value in values.items() if value} if manifest.state == "done" else {}
        return MeasuredRun(manifest.checkpoint_identity, manifest.recipe_digest, manifest.created, known)

    def comparisons(self) -> tuple[Comparison, ...]:
        """What was forecast before the run, beside what was measured on it."""
        return compared(self._book, self.measured())

    def summary(self) -> RunSummary:
        manifest, found = self.manifest, self.measurements()
        evaluation, latency = found.get("evaluation", {}), found.get(LATENCY, {})
        return RunSummary(
            manifest.run,
            manifest.checkpoint,
            manifest.recipe_name,
            manifest.created,
            self.state,
            manifest.bits_per_weight,
            manifest.bytes_before,
            manifest.bytes_after,
            manifest.seconds,
            perplexity=evaluation.get("perplexity"),
            perplexity_before=evaluation.get("perplexity_against"),
            kl_mean=evaluation.get("kl_mean"),
            kl_p99=evaluation.get("kl_p99"),
            top1_agreement=evaluation.get("top1_agreement"),
            decode_ms=(latency.get("timing") or {}).get("median_ms"),
            decode_ms_before=(latency.get("against") or {}).get("median_ms"),
            speed_up=latency.get("speed_up"),
            peak_rss_bytes=evaluation.get("peak_rss_bytes"),
            decode_peak_bytes=(latency.get("timing") or {}).get("peak_bytes"),
            decode_peak_bytes_before=(latency.get("against") or {}).get("peak_bytes"),
            exports=tuple(export["out"] for export in found.get("exports", [])),
            comparisons=self.comparisons(),
        )


def _name(result: RunMeasurement) -> str:
    """Under which a measurement is kept. Latency under other conditions than the default ones, which forecasts that are
    kept and tables of runs are about, does not take their place.
    """
    if isinstance(result, Latency) and (result.batch, result.context) != (1, DEFAULT_CONTEXT):
        return f"{LATENCY} {result.batch} × {result.context}"
    return type(result).__name__.lower()


def record_file(layers: Path, key: str) -> Path:
    """Where the layer record of that key lies."""
    return layers / key[:2] / f"{key}.safetensors"


def this_process() -> tuple[int, float]:
    """Number and start time of this process: together they name it for good."""
    process = psutil.Process()
    return process.pid, process.create_time()


def _alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `run.json`. Raises OutputError."""
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def _manifest(path: Path) -> Manifest:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        lists = {
            "warnings": tuple(map(parse_plan_warning, found["warnings"])),
            "surgery": tuple(found.get("surgery", ())),
        }
        return Manifest(**(found | lists))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            "The run cannot be read", where=str(path), remedy="Delete its folder if it is not needed any more."
        ) from error
