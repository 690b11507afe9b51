"""What reaches the disk before the work goes on, and what is said when the disk fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchvise.core.export.folder import check_output, output_place
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.workspace import journal
from benchvise.core.workspace.atomic_files import whole_file, write_text
from benchvise.core.workspace.disk import cannot_write, make_folders

ENTRY = journal.JournalEntry("key", LayerCompressed("a", "int4", 20.0, 0.1, 0, 8, 1, 4.0, 0.1), "00")


class Disk:
    """Follows what is synced: `steps` are ("sync", path) and ("rename", new path), in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, Path]] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._synced)
        for name in ("replace", "rename"):
            monkeypatch.setattr(Path, name, self._renames(getattr(Path, name)))

    def _synced(self, descriptor: int) -> None:
        self.steps.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        self._fsync(descriptor)

    def _renames(self, renames: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def renamed(path: Path, target: Path) -> Path:
            self.steps.append(("rename", Path(target)))
            return renames(path, target)

        return renamed


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs the names of open files")
    return Disk(monkeypatch)


@pytest.mark.parametrize("way", ["text", "whole file"])
def test_a_file_is_on_the_disk_before_it_is_renamed_and_its_name_after(disk: Disk, tmp_path: Path, way: str) -> None:
    path = tmp_path / "file"
    if way == "text":
        write_text(path, "text")
    else:
        with whole_file(path) as temporary:
            temporary.write_bytes(b"record")
    temporary = tmp_path / f".file.{os.getpid()}.partial"
    assert disk.steps == [("sync", temporary), ("rename", path), ("sync", tmp_path)]


def test_new_folders_are_on_the_disk(disk: Disk, tmp_path: Path) -> None:
    assert make_folders(tmp_path / "a" / "b") == [tmp_path / "a" / "b", tmp_path / "a"]
    assert {path for _, path in disk.steps} == {tmp_path, tmp_path / "a"}
    disk.steps.clear()
    assert make_folders(tmp_path / "a" / "b") == []
    assert disk.steps == []


def test_every_line_of_a_journal_is_on_the_disk_and_its_name_once(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal.append(path, ENTRY)
    assert disk.steps == [("sync", path), ("sync", tmp_path)]
    journal.append(path, ENTRY)
    assert disk.steps[2:] == [("sync", path)]


def test_an_export_is_on_the_disk_before_it_appears(disk: Disk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with output_place(check_output(out), single_file=False) as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").write_text("text")
    renamed = disk.steps.index(("rename", out))
    before = {path.relative_to(folder).as_posix() for _, path in disk.steps[:renamed]}
    assert before == {".", "below", "below/file"}
    assert disk.steps[renamed + 1 :] == [("sync", tmp_path)]


def test_folders_that_cannot_be_synced_are_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def files_alone(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a link, not to be resolved
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EFBIG, "larger than the system allows"),
        (errno.EACCES, "cannot be written to"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "A file lies"),
        (errno.EIO, "Input/output"),
    ],
)
def test_errors_of_the_disk_become_sentences(number: int, what: str, tmp_path: Path) -> None:
    error = cannot_write(tmp_path, OSError(number, os.strerror(number)), "nothing was left behind")
    assert what in error.what
    assert error.what.endswith("; nothing was left behind")
    assert error.where == str(tmp_path)
    assert error.remedy
