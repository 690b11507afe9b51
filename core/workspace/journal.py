"""The journal of a run: one line per finished layer, on the disk before the next one starts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from core.protocol.results import LayerCompressed
from core.workspace.places import cannot_write


@dataclass(frozen=True)
class JournalEntry:
    """One finished layer: the key of its record and what came of it."""

    key: str
    result: LayerCompressed


def append(path: Path, entry: JournalEntry) -> None:
    """Add a line and bring it to the disk. Raises OutputError."""
    line = json.dumps({"key": entry.key, "result": asdict(entry.result)}, ensure_ascii=False)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def read(path: Path) -> tuple[JournalEntry, ...]:
    """All whole lines, in order; a last line that a crash cut short is left out. Empty when there is no journal."""
    if not path.exists():
        return ()
    entries = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            break
        result = found["result"] | {"notes": tuple(found["result"]["notes"])}
        entries.append(JournalEntry(found["key"], LayerCompressed(**result)))
    return tuple(entries)
