"""The journal of a run: one line per finished layer, on the disk before the next one starts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.workspace.disk import cannot_write, sync_folder


@dataclass(frozen=True)
class JournalEntry:
    """One finished layer: the key of its record and what came of it.

    sha256: hex digest of the record's file; "" in lines of versions that wrote none.
    """

    key: str
    result: LayerCompressed
    sha256: str = ""


def append(path: Path, entry: JournalEntry) -> None:
    """Add a line and bring it to the disk. Raises OutputError."""
    line = json.dumps({"key": entry.key, "sha256": entry.sha256, "result": asdict(entry.result)}).encode()
    try:
        new = not path.exists()
        with path.open("ab+") as file:
            # A line that a crash cut short must not swallow this one.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def read(path: Path) -> tuple[JournalEntry, ...]:
    """All whole lines, in order; lines that a crash cut short count as not written. Empty when there is no journal."""
    if not path.exists():
        return ()
    entries = (_entry(line) for line in path.read_bytes().split(b"\n")[:-1])
    return tuple(entry for entry in entries if entry is not None)


def _entry(line: bytes) -> JournalEntry | None:
    try:
        found = json.loads(line)
        result = found["result"] | {"notes": tuple(found["result"]["notes"])}
        return JournalEntry(found["key"], LayerCompressed(**result), found.get("sha256", ""))
    except (ValueError, TypeError, KeyError):
        return None
