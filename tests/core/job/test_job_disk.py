"""Places that cannot be written to, and disks that fill up."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchvise.core.errors import Cancelled, OutputError
from benchvise.core.recipe.recipe import Recipe, Rule
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace
from tests.core.job.compress_samples import (
    INT4,
    MIXED,
    Watcher,
    cancel,
    manifests,
    network,
    records,
    run_recipe,
    timeless,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return network(tmp_path / "checkpoint")


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that: what a full disk looks like, without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow(checkpoint: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    expected = run_recipe(checkpoint, tmp_path / "undisturbed")
    largest = max(path.stat().st_size for path in (tmp_path / "undisturbed" / "layers").glob("*/*"))
    with files_of_at_most(largest - 1), pytest.raises(OutputError, match="larger than the system allows") as raised:
        run_recipe(checkpoint, workspace)
    assert raised.value.what.endswith("what was finished is kept")
    (manifest,) = manifests(workspace)
    assert manifest["state"] == "failed"
    assert not list(workspace.rglob("*.partial"))
    finished = [entry.result.name for entry in Workspace(str(workspace)).run(str(manifest["run"])).journal()]
    progress = Watcher()
    found = run_recipe(checkpoint, workspace, resume=True, progress=progress)
    assert [layer.name for layer in progress.results if layer.resumed] == finished
    assert timeless(found) == timeless(expected)
    assert records(workspace) == records(tmp_path / "undisturbed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = network(tmp_path / "checkpoint", depth=60)
    recipe = Recipe((Rule(("linears",), INT4),))
    with pytest.raises(OutputError, match=r"disk has 1\.05 MB left.* take 1\.15 MB") as raised:
        run_recipe(checkpoint, small_disk / "workspace", recipe)
    assert "another workspace" in raised.value.remedy
    assert not list(small_disk.iterdir()), "refused before anything is written"
    with monkeypatch.context() as patch:  # as if others had filled it meanwhile
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
        with pytest.raises(OutputError, match="disk is full"):
            run_recipe(checkpoint, small_disk / "workspace", recipe)
    assert not list(small_disk.rglob("*.partial"))
    (manifest,) = manifests(small_disk / "workspace")
    finished = Workspace(str(small_disk / "workspace")).run(str(manifest["run"])).journal()
    assert len(finished) > 50
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    progress = Watcher()
    run_recipe(checkpoint, small_disk / "workspace", recipe, resume=True, progress=progress)
    assert sum(layer.resumed for layer in progress.results) >= len(finished)
    run_recipe(checkpoint, tmp_path / "undisturbed", recipe)
    assert records(small_disk / "workspace") == records(tmp_path / "undisturbed")


def test_a_disk_too_full_even_to_say_so(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest goes on saying that this process is at work, which does not keep it from taking the run up."""
    workspace, update = tmp_path / "workspace", RunRecord.update
    monkeypatch.setattr(RunRecord, "update", full_disk)
    with pytest.raises(Cancelled):
        run_recipe(checkpoint, workspace, progress=Watcher(40, cancel))
    monkeypatch.setattr(RunRecord, "update", update)
    (manifest,) = manifests(workspace)
    assert manifest["state"] == "running"
    assert [run.state for run in Workspace(str(workspace)).runs()] == ["interrupted"]
    found = run_recipe(checkpoint, workspace, resume=True)
    assert found.run == manifest["run"]
    assert any(layer.resumed for layer in found.layers)
    assert [run.state for run in Workspace(str(workspace)).runs()] == ["done"]


def full_disk(run: RunRecord, **changes: object) -> None:  # noqa: ARG001 - the shape of `update`
    raise OutputError("The disk is full")


def test_finished_layers_need_no_space_again(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tmp_path / "workspace"
    run_recipe(checkpoint, workspace)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 1000, 0))
    run_recipe(checkpoint, workspace, resume=True)
    with pytest.raises(OutputError, match="disk has 0 B left"):
        run_recipe(checkpoint, workspace)


def test_a_file_where_the_workspace_should_be(checkpoint: Path, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    for workspace in (place, place / "below"):
        with pytest.raises(OutputError, match="file lies where a folder is needed"):
            run_recipe(checkpoint, workspace)
    assert place.read_text() == "mine"


def test_a_file_where_the_records_should_be(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "layers").write_text("mine")
    with pytest.raises(OutputError, match="file lies where a folder is needed"):
        run_recipe(checkpoint, tmp_path / "workspace")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody may write")
def test_a_place_nobody_may_write_to(checkpoint: Path) -> None:
    with pytest.raises(OutputError) as raised:
        run_recipe(checkpoint, Path("/proc/self/workspace"))
    assert raised.value.remedy


@pytest.mark.skipif(os.name == "nt" or not os.geteuid(), reason="root may write everywhere")
def test_a_folder_without_permission(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written to"):
        run_recipe(checkpoint, tmp_path / "locked" / "workspace", MIXED)
