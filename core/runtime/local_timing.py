"""How long a model's parts take on this machine: timed once, and kept."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchvise.core.progress import Progress
from benchvise.core.protocol.results import Estimate
from benchvise.core.runtime.latency_target import KernelAssignment, LatencyTarget, LinearOp
from benchvise.core.runtime.machine import device_name
from benchvise.core.runtime.micro_benchmark import THOROUGH, Case, Effort, MicroBenchmark, Sample
from benchvise.core.runtime.profile import Profile, spread_of, working_set_bytes
from benchvise.core.runtime.ranges import plus, scaled

CONTEXTS = (32, 128, 512)
"""At which the rest of a step is timed; between and beyond them it is interpolated, attention being linear in them."""

MAX_INPUTS = 512
"""Tokens at once for which linear layers are timed; more take in proportion."""

MAX_READ = 1024
"""Tokens of all prompts together, up to which reading them is timed as it is asked for."""

MAX_CACHED = 1 << 16
"""Tokens of all sequences together whose keys and values a micro-benchmark keeps."""

_EWMA_WEIGHT = 0.35
"""Weight of the newest timing in the machine's average pace."""
_RECENT_SECONDS = 60.0
_TIMED: dict[str, float] = {}
"""When this process last timed an anchor."""
_AT_ONCE = Estimate(0.0, 0.0, 0.0)
_MIN_ROOM = 8
_MIN_PART = 0.1
"""Of a layer's own time, that is left where it relieves the rest of the step."""


@dataclass(frozen=True)
class StepTimes:
    """Milliseconds. rest: of the step beside its linear layers. linears: for each assignment, a call of each."""

    rest: Estimate
    linears: tuple[tuple[Estimate, ...], ...]


@dataclass(frozen=True)
class Workload:
    """What is timed: `batch` prompts of `prompt` tokens being read, or steps after them being decoded."""

    batch: int
    prompt: int
    decodes: bool

    @property
    def inputs(self) -> int:
        """That a linear layer gets at once."""
        return self.batch if self.decodes else self.batch * self.prompt

    @property
    def words(self) -> str:
        verb = "decoding after" if self.decodes else "reading"
        return f"{verb} {self.batch} × {self.prompt}"


class LocalTiming:
    """Times on this machine. Casts that are asked for together are timed side by side."""

    other_machine = False

    def __init__(self, target: LatencyTarget, profile: Profile, progress: Progress, effort: Effort = THOROUGH) -> None:
        self.machine = device_name(target.device)
        self._target = target
        self._profile = profile
        self._progress = progress
        self._effort = effort
        self._built: MicroBenchmark | None = None

    def decoding(self, assignments: Sequence[KernelAssignment], batch: int, context: int) -> StepTimes:
        """One step: a token of each of `batch` sequences, after `context` others."""
        workloads = [Workload(batch, each, True) for each in self._contexts(batch, context)]
        self._benchmark(assignments, workloads)
        base, *others = workloads
        anchor = self._step_key(assignments[0], base)
        points = {workload.prompt: self._profile[self._rest_key(workload)] for workload in (others or [base])}
        rest = plus(interpolated(points, context), self._around(assignments[0], base))
        return self._paced(
            StepTimes(rest, tuple(self._times(assignment, base, assignments[0]) for assignment in assignments)), anchor
        )

    def prefill(self, assignments: Sequence[KernelAssignment], batch: int, prompt: int) -> StepTimes:
        """The reading of `batch` prompts. The layer that computes logits does so for one token of each, where the model
        can be asked for that.
        """
        base = Workload(1, self._inputs(batch * prompt), False)
        scale = batch * prompt / base.inputs
        whole = Workload(batch, prompt, False)
        exact = prompt <= MAX_INPUTS and batch * prompt <= MAX_READ
        longest = self._inputs(MAX_INPUTS)
        read = [whole] if exact else [Workload(1, max(1, longest // 2), False), Workload(1, longest, False)]
        self._benchmark(assignments, [base, *read])
        anchor = self._step_key(assignments[0], base)
        shorter, longer = self._profile[self._rest_key(read[0])], self._profile[self._rest_key(read[-1])]
        rest = shorter if exact else scaled(read_further(longest, shorter, longer, prompt), batch)
        linears = (
            tuple(scaled(each, scale) for each in self._times(assignment, base, assignments[0]))
            for assignment in assignments
        )
        found = self._paced(StepTimes(plus(rest, self._around(assignments[0], base)), tuple(linears)), anchor)
        head = self._target.head
        if head < 0 or not self._target.last_alone:
            return found
        last = self.decoding(assignments, batch, 1).linears
        alone = zip(found.linears, last, strict=True)
        return replace(found, linears=tuple((*times[:head], one[head], *times[head + 1 :]) for times, one in alone))

    def _benchmark(self, assignments: Sequence[KernelAssignment], workloads: Sequence[Workload]) -> None:
        """Time what is not known yet; the first workload is that in which the assignments are timed.

        The first assignment is timed beside whatever else is, so that all timings are given at one pace of the machine;
        and by itself when that was long ago.
        """
        base, first = workloads[0], assignments[0]
        unknown = [assignment for assignment in dict.fromkeys(assignments) if not self._knows(assignment, base)]
        silent = [workload for workload in dict.fromkeys(workloads) if self._rest_key(workload) not in self._profile]
        anchor = self._step_key(first, base)
        if not unknown and not silent and (anchor not in self._profile or _is_recent(anchor)):
            return
        if unknown and base not in silent:
            silent.insert(0, base)
        benchmark = self._micro_benchmark()
        without = self._target.head if not base.decodes and self._target.last_alone else -1
        timed = list(dict.fromkeys((first, *unknown)))
        cases = [Case({}, workload.batch, workload.prompt, workload.decodes) for workload in silent]
        cases += [
            Case(benchmark.modules(assignment, base.inputs, without), base.batch, base.prompt, base.decodes)
            for assignment in timed
        ]
        samples = benchmark.run(cases)
        timings = {
            self._rest_key(workload): spread_of([sample.step_ms for sample in found])
            for workload, found in zip(silent, samples, strict=False)
        }
        with_layers = samples[len(silent) :]
        for assignment, found in zip(timed, with_layers, strict=True) if base in silent else ():
            bare = samples[silent.index(base)]
            timings[self._around_key(assignment, base)] = _middle(
                [one.rest_ms - other.step_ms for one, other in zip(found, bare, strict=True)]
            )
            timings |= self._of_works(assignment, base, found)
        self._keep(timings, anchor, _middle([sample.step_ms for sample in with_layers[0]]))

    def _keep(self, timings: dict[str, Estimate], anchor: str, now: Estimate) -> None:
        """Keep timings as they would have been beside the first ones, whatever the pace was then and is now.

        anchor: of the step that is timed each time: what it took first, over what it takes `now`, is how much the pace
        has changed in between; what it takes on average is the pace that forecasts are told for.
        """
        first = self._profile.get(anchor, now)
        average = self._profile.get(_pace(anchor), now).value
        average += (now.value - average) * _EWMA_WEIGHT
        level = first.value / now.value if now.value > 0 else 1.0
        at_first = {key: scaled(time, level) for key, time in timings.items()}
        self._profile.keep({anchor: now, **at_first}, anew={_pace(anchor): Estimate(average, average, average)})
        _TIMED[anchor] = time.monotonic()

    def _paced(self, times: StepTimes, anchor: str) -> StepTimes:
        """At the machine's average pace."""
        first = self._profile.get(anchor, _AT_ONCE).value
        pace = self._profile.get(_pace(anchor), _AT_ONCE).value / first if first > 0 else 1.0
        linears = (tuple(scaled(time, pace) for time in each) for each in times.linears)
        return StepTimes(scaled(times.rest, pace), tuple(linears))

    def _of_works(
        self, assignment: KernelAssignment, workload: Workload, samples: Sequence[Sample]
    ) -> dict[str, Estimate]:
        works = samples[0].calls_ms
        return {
            self._linear_key(work, assignment, workload): spread_of([sample.calls_ms[work] for sample in samples])
            for work in works
        }

    def _around(self, assignment: KernelAssignment, workload: Workload) -> Estimate:
        """What layers at work slow down around them: caches that their weights fill."""
        return self._profile[self._around_key(assignment, workload)]

    def _times(self, assignment: KernelAssignment, workload: Workload, first: KernelAssignment) -> tuple[Estimate, ...]:
        """Of each linear module; zero for the one that is not called in the workload.

        The rest of a step is that of the `first` assignment: what another does to it is in its layers' times.
        """
        known = {work: self._linear_key(work, assignment, workload) for work in set(assignment)}
        share = (self._around(assignment, workload).value - self._around(first, workload).value) / max(
            1, len(assignment)
        )
        found = [self._profile.get(known[work], _AT_ONCE) for work in assignment]
        parts = (max(_MIN_PART, 1 + share / time.value) if time.value > 0 else 1.0 for time in found)
        return tuple(scaled(time, part) for time, part in zip(found, parts, strict=True))

    def _knows(self, assignment: KernelAssignment, workload: Workload) -> bool:
        alone = self._target.head if not workload.decodes and self._target.last_alone else -1
        works = {work for index, work in enumerate(assignment) if index != alone}
        keys = [
            self._around_key(assignment, workload),
            *(self._linear_key(work, assignment, workload) for work in works),
        ]
        return all(key in self._profile for key in keys)

    def _micro_benchmark(self) -> MicroBenchmark:
        if self._built is None:
            self._built = MicroBenchmark(self._target, self._progress, self._effort)
        return self._built

    def _contexts(self, batch: int, context: int) -> tuple[int, ...]:
        """The shortest, at which layers are timed, and those that `context` lies between or beyond."""
        limit = self._target.architecture.max_positions
        fits = [
            each for each in CONTEXTS if batch * each <= MAX_CACHED and (limit is None or each + _MIN_ROOM <= limit)
        ] or [max(1, min(CONTEXTS[0], (limit or CONTEXTS[0]) // 2))]
        above = next((place for place, each in enumerate(fits) if each >= context), len(fits) - 1)
        if above == 0:
            return (fits[0],)
        near = (fits[above],) if fits[above] == context else (fits[above - 1], fits[above])
        return (fits[0], *near)

    def _inputs(self, wanted: int) -> int:
        limit = self._target.architecture.max_positions
        return max(1, min(wanted, MAX_INPUTS, limit or MAX_INPUTS))

    def _linear_key(self, work: LinearOp, assignment: KernelAssignment, workload: Workload) -> str:
        among = working_set_bytes(sum(each.weight_bytes for each in assignment)) >> 10
        size = f"{work.rows}×{work.columns} {work.key} {self._target.dtype_name}"
        return f"{size}, {workload.inputs} inputs, among {among} KB"

    def _rest_key(self, workload: Workload) -> str:
        return f"rest of {self._target.digest} {self._target.dtype_name} {workload.words}"

    def _step_key(self, assignment: KernelAssignment, workload: Workload) -> str:
        return f"a step {self._around_key(assignment, workload)}"

    def _around_key(self, assignment: KernelAssignment, workload: Workload) -> str:
        works = hashlib.sha256(str([(work.rows, work.columns, work.key) for work in assignment]).encode()).hexdigest()[
            :16
        ]
        return f"around the layers {works} of {self._target.digest} {self._target.dtype_name} {workload.words}"


def interpolated(points: dict[int, Estimate], context: int) -> Estimate:
    """At `context`, from one or two other contexts: linear between and beyond them, never less than the shorter's."""
    first, *others = sorted(points)
    if not others:
        return points[first]
    last = others[-1]
    part = max(0.0, (context - first) / (last - first))
    return plus(scaled(points[first], 1 - part), scaled(points[last], part)) if part <= 1 else _beyond(points, part)


def read_further(longest: int, half: Estimate, whole: Estimate, prompt: int) -> Estimate:
    """Milliseconds to read `prompt` tokens, from those for `longest` and half as many: a · tokens + b · tokens²."""
    square = max(0.0, (whole.value - 2 * half.value) * 2 / longest**2)
    line = max(0.0, whole.value / longest - square * longest)
    value = line * prompt + square * prompt**2
    return scaled(whole, value / whole.value) if whole.value > 0 else whole


def _beyond(points: dict[int, Estimate], part: float) -> Estimate:
    first, last = points[min(points)], points[max(points)]
    value = last.value + (part - 1) * max(0.0, last.value - first.value)
    return scaled(last, value / last.value) if last.value > 0 else last


def _is_recent(anchor: str) -> bool:
    return time.monotonic() - _TIMED.get(anchor, -math.inf) < _RECENT_SECONDS


def _pace(anchor: str) -> str:
    return f"pace of {anchor}"


def _middle(values: Sequence[float]) -> Estimate:
    middle = float(np.median(values))
    return Estimate(middle, middle, middle)
