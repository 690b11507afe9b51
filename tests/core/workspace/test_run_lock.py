"""One process at a time works on a run."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchvise.core.workspace.run_lock import NAME, RunBusyError, RunLock

HOLD = """
import sys
from pathlib import Path
from benchvise.core.workspace.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path` until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_refused_and_told_who_holds_it(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(RunBusyError, match=rf"by another process \(process {holder.pid}\)") as refused:
        RunLock(tmp_path)
    assert refused.value.remedy
    assert refused.value.where == str(tmp_path)


def test_the_lock_of_a_killed_process_is_taken_over(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / NAME).read_text() == str(holder.pid)
    lock = RunLock(tmp_path)
    assert (tmp_path / NAME).read_text() == str(os.getpid())
    lock.release()


def test_nor_does_one_process_work_on_a_run_twice(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with pytest.raises(RunBusyError, match="another job of this program"):
        RunLock(tmp_path)
    lock.release()
    assert not list(tmp_path.iterdir())
    RunLock(tmp_path).release()


def test_a_lock_whose_file_was_just_removed_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder leaves between the opening and the locking of the file: the lock must be of the file that is there."""
    first, flock = RunLock(tmp_path), fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.release()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = RunLock(tmp_path)
    with pytest.raises(RunBusyError):
        RunLock(tmp_path)
    second.release()


def test_without_locks_of_the_file_system_the_living_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    (tmp_path / NAME).write_text("4194305")
    RunLock(tmp_path).release()
    (tmp_path / NAME).write_text(str(os.getppid()))
    with pytest.raises(RunBusyError, match=str(os.getppid())):
        RunLock(tmp_path)
