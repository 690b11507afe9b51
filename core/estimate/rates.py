"""How long parts of a job take and what memory they need on this machine: measured once, kept in the workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchvise.core.workspace.atomic_files import write_text


@dataclass(frozen=True)
class TextRates:
    """Cutting a text into tokens: seconds to begin with and per character, and tokens per character.

    left: bytes that the process keeps when nothing but the tokens is left.
    """

    begin: float
    character: float
    tokens: float
    left: int


@dataclass(frozen=True)
class NetworkRates:
    """seconds: to build the model without its blocks' weights. nbytes: that it takes then, embedding and head left out.

    entering: seconds per window on the way to the first block. state: seconds per byte of activations kept.
    warm_bytes: what stays in a process that has built it once. whole: whether it cannot be taken apart into blocks.
    """

    seconds: float
    nbytes: int
    entering: float
    state: float
    warm_bytes: int
    whole: bool


@dataclass(frozen=True)
class BlockRates:
    """One block, from loading it to dropping it.

    rest:   seconds that depend neither on windows nor on steps: loading, solving, records. once: more for the first
            such block of a job.
    passes: how often each window goes through; seconds per window for all of them in `window`.
    step:   seconds per step of learning; probe: per look at what learning has come to; 0 where nothing is learned.
    nbytes: the most memory added beyond the network without the block, and beyond `streams`: windows' hidden states.
    held:   bytes for each further window: what waits at a hook until its layers are solved, and the original's inputs.
    """

    rest: float
    once: float
    window: float
    passes: float
    step: float
    probe: float
    nbytes: int
    held: int = 0


@dataclass(frozen=True)
class PolishRates:
    """A block under polish, and the way from the last block to the loss and back.

    step: seconds per window for the model that is tuned, forward and back; decode: seconds a step for its weights.
    forward: seconds per window of the original. saved: bytes kept per window for the way back. parts: bytes of what is
    tuned, for good; working: of decoded weights and their gradients in a step. load, record: seconds to read the block
    and to write what became of it. trained: values that are trained.
    """

    step: float
    decode: float
    forward: float
    saved: int
    parts: int
    working: int
    load: float
    record: float
    trained: int = 0


@dataclass(frozen=True)
class LayerRates:
    """A layer on its own, cut to its first rows: seconds, and the most memory added. nbytes: of the piece."""

    seconds: float
    added: int
    nbytes: int


Rates = TypeVar("Rates", TextRates, NetworkRates, BlockRates, PolishRates, LayerRates)


class KnownRates:
    """Rates by key, for one machine; a file that cannot be understood counts as empty."""

    def __init__(self, path: Path, machine: str) -> None:
        self._path = path
        self._machine = machine
        self._known = _read(path).get(machine, {})

    def get(self, kind: type[Rates], key: str, measure: Callable[[], Rates]) -> Rates:
        """The kept rates, or fresh ones that are kept from now on. Raises OutputError when they cannot be kept."""
        name = f"{kind.__name__} {key}"
        try:
            return kind(**self._known[name])
        except (KeyError, TypeError):
            found = measure()
        self._known[name] = asdict(found)
        write_text(self._path, json.dumps(_read(self._path) | {self._machine: self._known}, indent=1) + "\n")
        return found


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(part, dict) for part in found.values()) else {}
