"""The journal after crashes of every kind."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.errors import OutputError
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.workspace.journal import JournalEntry, append, read

LAYER = LayerCompressed("blöck.0", "int4 g128", 21.5, 0.125, 3, 400, 104, 4.125, 0.5, notes=("on cpu",))
ENTRIES = tuple(
    JournalEntry(f"key{number}", replace(LAYER, name=f"blöck.{number}"), f"{number:064}") for number in range(3)
)


def written(path: Path) -> bytes:
    for entry in ENTRIES:
        append(path, entry)
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert read(path) == ()
    assert written(path).count(b"\n") == 3
    assert read(path) == ENTRIES
    append(path, replace(ENTRIES[0], result=replace(LAYER, sqnr_db=None)))
    assert read(path)[3].result.sqnr_db is None


def test_lines_without_a_checksum_are_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(re.sub(rb'"sha256": "[^"]*", ', b"", written(path)))
    assert read(path) == tuple(replace(entry, sha256="") for entry in ENTRIES)


def test_cut_anywhere_whole_lines_survive_and_the_next_is_added(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole = written(path)
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        survivors = ENTRIES[: whole[:length].count(b"\n")]
        assert read(path) == survivors
        append(path, ENTRIES[2])
        complete = whole[:length].splitlines()
        # Cut just before its line end, a line is whole all the same.
        rescued = (ENTRIES[len(survivors)],) if whole[length : length + 1] == b"\n" and complete else ()
        assert read(path) == (*survivors, *rescued, ENTRIES[2])


@pytest.mark.parametrize(
    "kl_increase", [b"\0\0\0\n", b"{}\n", b'{"key": 1, "result": {}}\n', b"\xff\xfe\n", b"[]\n", b"\n"]
)
def test_damaged_lines_hide_no_others(kl_increase: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole = written(path)
    path.write_bytes(kl_increase + whole)
    assert read(path) == ENTRIES


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        append(tmp_path / "missing" / "journal.jsonl", ENTRIES[0])
