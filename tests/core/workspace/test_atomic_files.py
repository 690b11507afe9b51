"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from benchvise.core.errors import OutputError
from benchvise.core.workspace.atomic_files import ENVIRONMENT, whole_file, workspace_path, write_text


def test_the_workspace_is_asked_for_or_the_environments_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "environment"))
    assert workspace_path(str(tmp_path / "asked")) == (tmp_path / "asked").resolve()
    assert workspace_path() == (tmp_path / "environment").resolve()
    monkeypatch.delenv(ENVIRONMENT)
    assert workspace_path().name == "workspace"
    assert "benchvise" in str(workspace_path())


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    write_text(path, "old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [ValueError("ours"), OSError(28, "No space left"), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_there_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file", "\ud800")
    assert not list(tmp_path.iterdir())


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = tmp_path / ".other.4194305.partial"
    nameless = tmp_path / ".other.x.partial"
    living = tmp_path / f".other.{os.getpid()}.partial"
    before_us = tmp_path / f".old.{os.getpid()}.partial"
    unrelated = tmp_path / ".hidden"
    for file in (dead, nameless, living, before_us, unrelated):
        file.write_text("half")
    os.utime(before_us, (0, 0))  # another process had our number, long before us
    write_text(tmp_path / "file", "text")
    assert sorted(tmp_path.iterdir()) == sorted([living, unrelated, tmp_path / "file"])


def test_our_own_leftover_of_the_same_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".file.{os.getpid()}.partial").write_text("half")
    with whole_file(tmp_path / "file") as temporary, temporary.open("x") as file:
        file.write("text")
    assert (tmp_path / "file").read_text() == "text"


def test_lack_of_memory_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="memory"), whole_file(tmp_path / "file"):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    assert not list(tmp_path.iterdir())
