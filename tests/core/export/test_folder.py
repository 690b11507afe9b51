"""The output folder appears whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchvise.core.errors import Cancelled, OutputError
from benchvise.core.export.folder import check_output, output_place, require_space


def test_it_appears_at_the_end(tmp_path: Path) -> None:
    out = check_output(tmp_path / "a" / "b" / "out")
    with output_place(out) as folder:
        (folder / "file").write_text("content")
        assert not out.exists()
    assert (out / "file").read_text() == "content"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with output_place(check_output(tmp_path / "out")) as folder:
        (folder / "file").touch()
    assert (tmp_path / "out" / "file").exists()


@pytest.mark.parametrize("error", [Cancelled(), ValueError(), KeyboardInterrupt()])
def test_it_is_removed_with_the_parents_that_were_created(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with output_place(check_output(tmp_path / "a" / "out")) as folder:
            (folder / "file").touch()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
def test_every_error_of_the_disk_becomes_a_sentence(tmp_path: Path, code: int) -> None:
    with pytest.raises(OutputError) as caught, output_place(check_output(tmp_path / "out")):
        raise OSError(code, os.strerror(code))
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_existing_output_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere" / "x")
    for name in ("folder", "file", "file/below"):
        with pytest.raises(OutputError) as caught, output_place(check_output(tmp_path / name)):
            pytest.fail("nothing may be written")
        assert caught.value.remedy
    assert (tmp_path / "folder" / "mine").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "file", "folder"]


def test_output_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    out = check_output(tmp_path / "out")

    def write() -> None:
        with output_place(out) as folder:
            (folder / "file").touch()
            out.mkdir()
            (out / "mine").touch()

    with pytest.raises(OutputError):
        write()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    out = check_output(tmp_path / "model.gguf", suffix=".gguf")

    def write() -> None:
        with output_place(out, single_file=True) as place:
            place.write_text("ours")
            out.write_text("theirs")

    with pytest.raises(OutputError, match="nothing was left behind"):
        write()
    assert out.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_the_input_is_never_written_to(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "link").symlink_to(source)
    for out in (source, source / "out", tmp_path / "link" / "out"):
        with pytest.raises(OutputError, match="input"):
            check_output(out, [source])
    assert check_output(tmp_path / "other", [source]) == tmp_path / "other"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_parent_that_cannot_be_written_to() -> None:
    with pytest.raises(OutputError) as caught, output_place(check_output("/proc/benchvise/out")):
        pytest.fail("nothing may be written")
    assert caught.value.remedy


def test_no_name_at_all() -> None:
    with pytest.raises(OutputError):
        check_output("")


def test_too_little_space_is_seen_before_writing(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(OutputError, match="bytes left"):
        require_space(tmp_path, 1 << 60)


def test_leftovers_of_dead_processes_are_removed_and_of_living_ones_kept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".out.partial-{dead.pid}").mkdir()
    (tmp_path / f".out.partial-{dead.pid}" / "half").write_text("half")
    (tmp_path / f".out.partial-{os.getppid()}").mkdir()
    (tmp_path / f".other.partial-{dead.pid}").mkdir()
    with output_place(check_output(tmp_path / "out")):
        pass
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out", f".out.partial-{os.getppid()}", f".other.partial-{dead.pid}"}


def test_a_leftover_with_the_number_of_a_younger_process_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / f".out.partial-{os.getpid()}"
    leftover.mkdir()
    os.utime(leftover, (1, 1))
    with output_place(check_output(tmp_path / "out")) as folder:
        (folder / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_in_the_way_is_said_before_the_work() -> None:
    with pytest.raises(OutputError, match="'/dev/null' is not a folder"):
        check_output("/dev/null/deeper/out")
