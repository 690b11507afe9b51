"""How long one linear layer takes on this machine: micro-benchmarks, kept in the workspace."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.runtime.machine import last_level_cache_bytes
from core.workspace.places import write_text

LEAST_SECONDS = 0.15
LEAST_PASSES = 7
LEAST_CALLS_A_PASS = 8
MAX_COPIES = 256
CACHES_FILLED = 4


@dataclass(frozen=True)
class Spread:
    """Milliseconds per call: median, 10th and 90th percentile; bytes of the weights that one call reads."""

    median_ms: float
    low_ms: float
    high_ms: float
    weight_bytes: int


class Profile:
    """Micro-benchmarks by key, for one machine; a file that cannot be understood counts as empty."""

    def __init__(self, path: Path, machine: str) -> None:
        self._path = path
        self._machine = machine
        self._known = _read(path).get(machine, {})

    def get_or_measure(self, key: str, measure: Callable[[], Spread]) -> Spread:
        """The kept value, or a fresh one that is kept from now on. Raises OutputError when it cannot be kept."""
        if key not in self._known:
            self._known[key] = measure()
            everything = _read(self._path) | {self._machine: self._known}
            plain = {name: {k: asdict(v) for k, v in entries.items()} for name, entries in everything.items()}
            write_text(self._path, json.dumps(plain, indent=1))
        return self._known[key]


def working_set_bytes(model_bytes: int) -> int:
    """How much memory a benchmark must go through to meet the caches as a model of that size does: a power of two.

    A model that fits into the processor's caches finds its weights there at the next token; a larger one never does.
    """
    needed = min(model_bytes, CACHES_FILLED * last_level_cache_bytes())
    return 1 << max(0, math.ceil(math.log2(max(1, needed))))


@torch.inference_mode()
def time_linear(make: Callable[[], nn.Module], x: Tensor, weight_bytes: int, working_set: int) -> Spread:
    """Time a linear module on input x [1, 1, columns].

    As many modules as fill `working_set` are called one after the other, so that each finds its weights where a whole
    model would.
    """
    copies = max(1, min(MAX_COPIES, math.ceil(working_set / max(1, weight_bytes))))
    modules = [make() for _ in range(copies)]
    rounds = max(1, math.ceil(LEAST_CALLS_A_PASS / copies))
    _run(modules, x, 1)
    passes: list[float] = []
    started = time.perf_counter()
    while len(passes) < LEAST_PASSES or time.perf_counter() - started < LEAST_SECONDS:
        passes.append(_run(modules, x, rounds) * 1000 / (rounds * copies))
    return spread_of(passes, weight_bytes)


def spread_of(milliseconds: list[float], weight_bytes: int) -> Spread:
    """The middle and the width of repeated timings."""
    low, median, high = (float(value) for value in np.quantile(milliseconds, (0.1, 0.5, 0.9)))
    return Spread(median, low, high, weight_bytes)


def _run(modules: list[nn.Module], x: Tensor, rounds: int) -> float:
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(rounds):
        for module in modules:
            module(x)
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _read(path: Path) -> dict[str, dict[str, Spread]]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = [field.name for field in fields(Spread)]
        return {
            machine: {key: Spread(*(entry[name] for name in names)) for key, entry in entries.items()}
            for machine, entries in stored.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
