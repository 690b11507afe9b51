"""What was timed on this machine, kept in the workspace."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from benchvise.core.protocol.results import Estimate
from benchvise.core.runtime.machine import last_level_cache_bytes
from benchvise.core.workspace.atomic_files import write_text

CACHES_FILLED = 4
UNSTEADY = 0.15
"""Relative difference of a slow and a quick take beyond which more of them are wanted."""


class Profile:
    """Timings in milliseconds by key, for one machine; a file that cannot be understood counts as empty.

    path: None keeps nothing beyond this object.
    """

    def __init__(self, path: Path | None, machine: str) -> None:
        self._path = path
        self._machine = machine
        self._known = _read(path).get(machine, {}) if path is not None else {}

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Estimate:
        return self._known[key]

    def get(self, key: str, otherwise: Estimate) -> Estimate:
        return self._known.get(key, otherwise)

    def keep(self, timings: Mapping[str, Estimate], *, anew: Mapping[str, Estimate] | None = None) -> None:
        """Keep what is not known yet, and what is known `anew`. Raises OutputError when the file cannot be written."""
        self._known = {**timings, **self._known, **(anew or {})}
        if self._path is not None:
            everything = _read(self._path) | {self._machine: self._known}
            plain = {name: {k: asdict(v) for k, v in entries.items()} for name, entries in everything.items()}
            write_text(self._path, json.dumps(plain, indent=1))


def working_set_bytes(model_bytes: int) -> int:
    """How much memory a benchmark must go through to meet the caches as a model of that size does: a power of two.

    A model that fits into the processor's caches finds its weights there at the next token; a larger one never does.
    """
    needed = min(model_bytes, CACHES_FILLED * last_level_cache_bytes())
    return 1 << max(0, math.ceil(math.log2(max(1, needed))))


def spread_of(milliseconds: Sequence[float]) -> Estimate:
    """The median of repeated timings, and their 10th and 90th percentile."""
    low, median, high = (float(value) for value in np.quantile(milliseconds, (0.1, 0.5, 0.9)))
    return Estimate(median, low, high)


def steady(milliseconds: Sequence[float]) -> bool:
    """Whether repeated timings lie close together; on a machine that others share they often do not."""
    found = spread_of(milliseconds)
    return found.high <= (1 + UNSTEADY) * found.low


def _read(path: Path) -> dict[str, dict[str, Estimate]]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = [field.name for field in fields(Estimate)]
        return {
            machine: {key: Estimate(*(float(entry[name]) for name in names)) for key, entry in entries.items()}
            for machine, entries in stored.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
