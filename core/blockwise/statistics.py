"""Second moments of the inputs of layers, added up while calibration windows go through a block."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchvise.core.activations.observers import Observer
from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.block_run import ModuleForward
from benchvise.core.blockwise.experts import ExpertHook
from benchvise.core.blockwise.input_hooks import InputHook, Inputs, Observed, observe
from benchvise.core.solvers.solution import InputStatistics

SYMMETRIC_COLUMNS = 192
"""Of second moments are added up at a time, with all columns behind them: what lies before them mirrors that."""


@dataclass(frozen=True)
class Stream:
    """Hidden states [windows, tokens, width], and what they go through."""

    run: ModuleForward
    hidden: Tensor

    def observe(self, part: slice, hooks: Sequence[InputHook], *, to_end: bool = False) -> Observed:
        return observe(self.run.module, hooks, lambda: self.run(self.hidden[part]), to_end=to_end)


@dataclass(frozen=True)
class Wanted:
    """Names of the layers of whose inputs moments are wanted, moments with the original's inputs as well, and observers
    of the inputs, by the layers' names."""

    moments: frozenset[str] = frozenset()
    cross: frozenset[str] = frozenset()
    observers: Mapping[str, Observer] = field(default_factory=dict)

    def only(self, names: Collection[str]) -> Wanted:
        """The same for those layers alone."""
        observers = {name: observer for name, observer in self.observers.items() if name in names}
        return Wanted(self.moments.intersection(names), self.cross.intersection(names), observers)

    def compares(self, hook: InputHook) -> bool:
        """Whether the original's inputs are wanted beside those that the hook sees."""
        return hook.paired and not self.cross.isdisjoint(hook.names)

    def any_of(self, hook: InputHook) -> bool:
        return any(name in self.moments or name in self.observers for name in hook.names)


@dataclass(frozen=True)
class Learned:
    """What calibration said, by the layers' names: statistics of inputs, observers that saw them, and what is to be
    noted with the layer."""

    statistics: Mapping[str, InputStatistics] = field(default_factory=dict)
    observers: Mapping[str, Observer] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def noting(self, notes: Mapping[str, str]) -> Learned:
        """With one more note for each of some layers."""
        more = {name: (*self.notes.get(name, ()), note) for name, note in notes.items()}
        return replace(self, notes={**self.notes, **more})


class Collector:
    """Adds up what hooks see of one stream, and of the original network's beside it when there is one.

    Layers with the same inputs share one Hessian, float32 on the device of the block.
    """

    def __init__(
        self, hooks: Sequence[InputHook], wanted: Wanted, stream: Stream, original: Stream | None = None
    ) -> None:
        self._hooks = tuple(hook for hook in hooks if wanted.any_of(hook))
        self._wanted = wanted
        self._stream = stream
        self._original = original
        self._beside = tuple(hook for hook in self._hooks if original is not None and wanted.compares(hook))
        # Experts that saw little are helped out by all others of their module.
        mixtures = [hook for hook in self._hooks if isinstance(hook, ExpertHook)]
        self._names = wanted.moments.union(*((*hook.names, hook.rest) for hook in mixtures))
        self._moments: dict[tuple[str, ...], _Moments] = {}

    @torch.no_grad()
    def run(self, batching: Batching, done: Callable[[int], None], outputs: Tensor | None = None) -> Learned:
        """Push all windows through; `done` is told how many at a time.

        outputs: float32 [windows, tokens, width], filled with what the block gives; may be the hidden states
        themselves. Raises NotFinite.
        """

        def push(part: slice) -> tuple[Observed, Observed | None]:
            beside = self._original.observe(part, self._beside) if self._original and self._beside else None
            return self._stream.observe(part, self._hooks, to_end=outputs is not None), beside

        def take(part: slice, found: tuple[Observed, Observed | None]) -> None:
            seen, beside = found
            self._add(seen, dict(zip(self._beside, beside.inputs, strict=True)) if beside is not None else {})
            if outputs is not None and seen.output is not None:
                outputs[part] = finite(seen.output)
            done(part.stop - part.start)

        if self._hooks or outputs is not None:
            batching.run(len(self._stream.hidden), push, take)
        return self.learned()

    def _add(self, seen: Observed, beside: Mapping[InputHook, tuple[Inputs, ...]]) -> None:
        for hook, calls in zip(self._hooks, seen.inputs, strict=True):
            originals = beside.get(hook)
            self.add(calls, None if originals is None else [rows for _, rows in originals])

    def add(self, calls: Sequence[Inputs], originals: Sequence[Tensor] | None) -> None:
        """What a hook saw of some windows, and [tokens, columns] for each call what it sees in the original network."""
        for number, (names, rows) in enumerate(calls):
            for name in names:
                if name in self._wanted.observers:
                    _observe(name, self._wanted.observers[name], rows)
            if not self._names.isdisjoint(names):
                if names not in self._moments:
                    self._moments[names] = _Moments.of(rows, compared=originals is not None)
                self._moments[names].add(rows, originals[number] if originals is not None else None)

    def learned(self) -> Learned:
        """What came of all that was added. Raises NotFinite."""
        found: dict[str, InputStatistics] = {}
        for names, moments in self._moments.items():
            statistics = moments.mean()
            if not bool(statistics.importance.isfinite().all()):
                raise NotFinite(names[0])
            found |= dict.fromkeys(names, statistics)
        notes: dict[str, tuple[str, ...]] = {}
        for hook in self._hooks:
            if isinstance(hook, ExpertHook):
                for name, expert in hook.completed(found).items():
                    found[name], notes[name] = expert.inputs, expert.notes
        kept = {name: statistics for name, statistics in found.items() if name in self._wanted.moments}
        return Learned(kept, self._wanted.observers, notes)


@dataclass
class _Moments:
    """Sums over the rows so far: XᵀX on and above its diagonal and, where the original's inputs are compared,
    (X₀ − X)ᵀX."""

    hessian: Tensor
    drift: Tensor | None
    tokens: int = 0

    @classmethod
    def of(cls, rows: Tensor, *, compared: bool) -> _Moments:
        columns = rows.shape[1]
        return cls(rows.new_zeros(columns, columns), rows.new_zeros(columns, columns) if compared else None)

    def add(self, rows: Tensor, original: Tensor | None) -> None:
        for start in range(0, rows.shape[1], SYMMETRIC_COLUMNS):
            part = slice(start, start + SYMMETRIC_COLUMNS)
            self.hessian[part, start:].addmm_(rows[:, part].T, rows[:, start:])
        if self.drift is not None and original is not None:
            if original.dtype == rows.dtype:
                self.drift.addmm_((original - rows).T, rows)
            else:
                # The difference is small, so that what its product loses in half precision is nothing.
                half = rows.to(original.dtype)
                self.drift.add_((original.float() - half.float()).to(original.dtype).T @ half)
        self.tokens += len(rows)

    def mean(self) -> InputStatistics:
        """The moments per token, in the place of the sums."""
        count = max(1, self.tokens)
        size = len(self.hessian)
        for start in range(0, size, SYMMETRIC_COLUMNS):
            part, behind = slice(start, start + SYMMETRIC_COLUMNS), min(size, start + SYMMETRIC_COLUMNS)
            self.hessian[behind:, part] = self.hessian[part, behind:].T
        drift = None if self.drift is None else self.drift.div_(count)
        return InputStatistics(self.hessian.div_(count), self.tokens, drift)


def finite(hidden: Tensor) -> Tensor:
    """The same tensor, of any shape, float32. Raises NotFinite."""
    if not bool(hidden.isfinite().all()):
        raise NotFinite
    return hidden


class NotFinite(Exception):  # noqa: N818 - whoever knows the block makes an error of it
    """Calibration met NaN or infinity on the way to a layer, or behind it."""


def _observe(name: str, observer: Observer, rows: Tensor) -> None:
    try:
        observer.see(rows)
    except ValueError as error:
        raise NotFinite(name) from error
