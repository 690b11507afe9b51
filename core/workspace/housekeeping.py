"""What a workspace takes on the disk, and what of it can go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchvise.core.errors import UserError
from benchvise.core.language import message
from benchvise.core.workspace.run_record import SURGERY, RunRecord
from benchvise.core.workspace.workspace import Workspace


@dataclass(frozen=True)
class Usage:
    """Bytes of files. Records of layers are shared by runs, and count once.

    finished_bytes:   of finished runs and their records.
    unfinished_bytes: of unfinished runs that nobody works on, and of records that no other run refers to.
    rest_bytes:       of measurements, forecasts, and runs under way.
    """

    runs: int
    nbytes: int
    finished_bytes: int
    unfinished_bytes: int

    @property
    def rest_bytes(self) -> int:
        return self.nbytes - self.finished_bytes - self.unfinished_bytes


def usage_of(workspace: Workspace) -> Usage:
    """Reads names and sizes of files, and the journals of the runs."""
    runs = workspace.records()
    finished = [run for run in runs if run.state == "done"]
    at_work = [run for run in runs if run.state == "running"]
    kept, busy = _records_of(finished), _records_of(at_work)
    loose = {path for path in _shared(workspace) if path not in kept and path not in busy}
    stopped = [run for run in runs if run not in finished and run not in at_work]
    return Usage(
        len(runs),
        _size(_files(workspace.path)),
        _size(kept) + sum(_size(_files(run.folder)) for run in finished),
        (0 if at_work else _size(loose)) + sum(_size(_files(run.folder)) for run in stopped),
    )


def clean_up(workspace: Workspace) -> int:
    """Remove unfinished runs, and records that no run refers to; how many bytes that gave back.

    Raises UserError while a run is under way: what it has written may not be in its journal yet.
    """
    stopped = [run.id for run in workspace.records() if run.state not in ("done", "running")]
    return remove_runs(workspace, stopped)


def remove_runs(workspace: Workspace, names: Iterable[str]) -> int:
    """Remove runs with the records that no other run refers to; how many bytes that gave back.

    Raises UserError for a name that is none, before anything is removed, and while a run is under way.
    """
    going = [workspace.run(name) for name in names]
    if any(run.state == "running" for run in workspace.records()):
        raise UserError(
            message("A run is under way in this workspace"),
            where=str(workspace.path),
            remedy=message("Wait until it has ended, or cancel it, and try again."),
        )
    before = _size(_files(workspace.path))
    for run in going:
        shutil.rmtree(run.folder, ignore_errors=True)
    needed = _records_of(workspace.records())
    for path in list(_shared(workspace)):
        if path not in needed:
            path.unlink(missing_ok=True)
    return before - _size(_files(workspace.path))


def _records_of(runs: Iterable[RunRecord]) -> set[Path]:
    return {path for run in runs for path in (*run.layer_files.values(), *run.surgery_files)}


def _shared(workspace: Workspace) -> Iterator[Path]:
    """Files that several runs may refer to. What a surgery is writing belongs to no run yet, and is hidden."""
    yield from _files(workspace.layers)
    yield from (path for path in _files(workspace.path / SURGERY) if path.name[:1] != ".")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.exists())
