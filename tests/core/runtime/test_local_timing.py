"""Times on this machine are put together from micro-benchmarks, which here keep to a law instead of a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.results import Estimate
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.runtime import local_timing as room
from benchvise.core.runtime import micro_benchmark as benchmark_room
from benchvise.core.runtime.latency_target import KernelAssignment, LatencyTarget, LinearOp, latency_target_of
from benchvise.core.runtime.local_timing import LocalTiming, interpolated, read_further
from benchvise.core.runtime.micro_benchmark import QUICK, Case, MicroBenchmark, Sample
from benchvise.core.runtime.profile import Profile

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
CPU = torch.device("cpu")
INT8 = Treatment(Integer(bits=8, granularity="channel"))
AROUND = 0.25
"""Milliseconds that a step with layers takes beside them more than one without layers."""


def call_ms(work: LinearOp, inputs: int) -> float:
    return work.weight_bytes * 1e-6 * inputs


def bare_ms(batch: int, prompt: int, *, decodes: bool) -> float:
    return 1 + 0.001 * batch * prompt if decodes else 0.5 + 0.01 * batch * prompt


class Lawful:
    """Stands in for the benchmark."""

    runs = 0
    pace = 1.0

    def __init__(self, target: LatencyTarget, *_: object) -> None:
        self.target = target

    def modules(
        self,
        assignment: KernelAssignment,
        inputs: int,  # noqa: ARG002
        without: int,
    ) -> Mapping[str, tuple[LinearOp, nn.Module]]:
        pairs = enumerate(zip(self.target.linears, assignment, strict=True))
        return {place.path: (work, nn.Identity()) for index, (place, work) in pairs if index != without}

    def run(self, cases: Sequence[Case]) -> list[list[Sample]]:
        Lawful.runs += 1
        return [[self.sample(case)] * 3 for case in cases]

    def sample(self, case: Case) -> Sample:
        inputs = case.batch if case.decodes else case.batch * case.prompt
        calls = {work: self.pace * call_ms(work, inputs) for work, _ in case.modules.values()}
        rest = self.pace * (bare_ms(case.batch, case.prompt, decodes=case.decodes) + (AROUND if case.modules else 0))
        return Sample(rest + sum(calls[work] for work, _ in case.modules.values()), rest, calls)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> LocalTiming:
    monkeypatch.setattr(room, "MicroBenchmark", Lawful)
    monkeypatch.setattr(room, "_TIMED", {})
    Lawful.runs, Lawful.pace = 0, 1.0
    return LocalTiming(latency_target_of(open_checkpoint(SAMPLE), CPU), Profile(None, "here"), NullProgress())


def assignments(here: LocalTiming) -> tuple[KernelAssignment, KernelAssignment]:
    target = here._target
    return target.assignment({}), target.assignment({place.layer.name: INT8 for place in target.linears if place.layer})


@pytest.mark.parametrize(("batch", "context"), [(1, 32), (1, 50), (4, 128), (2, 100), (3, 400)])
def test_a_step_keeps_to_the_law_between_and_beyond_what_was_timed(here: LocalTiming, batch: int, context: int) -> None:
    both = assignments(here)
    times = here.decoding(both, batch, context)
    assert times.rest.value == pytest.approx(bare_ms(batch, context, decodes=True) + AROUND)
    for assignment, linears in zip(both, times.linears, strict=True):
        assert [one.value for one in linears] == pytest.approx([call_ms(work, batch) for work in assignment])


@pytest.mark.parametrize(("batch", "prompt"), [(1, 16), (1, 300), (4, 128), (8, 400)])
def test_reading_keeps_to_the_law_and_computes_logits_for_the_last_token(
    here: LocalTiming, batch: int, prompt: int
) -> None:
    both = assignments(here)
    times = here.prefill(both, batch, prompt)
    head = here._target.head
    for assignment, linears in zip(both, times.linears, strict=True):
        expected = [call_ms(work, batch if index == head else batch * prompt) for index, work in enumerate(assignment)]
        assert [one.value for one in linears] == pytest.approx(expected)
    if batch * prompt <= room.MAX_READ:
        assert times.rest.value == pytest.approx(bare_ms(batch, prompt, decodes=False) + AROUND)


def test_what_is_known_is_not_timed_again(here: LocalTiming) -> None:
    both = assignments(here)
    first = here.decoding(both, 1, 100)
    runs = Lawful.runs
    assert here.decoding(both, 1, 100) == first
    assert here.decoding(both[::-1], 1, 100).linears == first.linears[::-1]
    assert Lawful.runs == runs
    here.decoding(both, 2, 100)
    assert Lawful.runs > runs


@pytest.mark.parametrize("decodes", [True, False])
def test_what_is_timed_while_the_machine_is_slower_is_told_at_its_average_pace(
    here: LocalTiming, decodes: bool
) -> None:
    dense, treated = assignments(here)
    ask = here.decoding if decodes else here.prefill
    (before,) = ask([dense], 1, 32).linears
    Lawful.pace = 3.0
    both = ask([dense, treated], 1, 32)
    average = 1 + (3 - 1) * room._EWMA_WEIGHT
    assert [one.value for one in both.linears[0]] == pytest.approx([average * one.value for one in before])
    last = here._target.head if not decodes else -1
    expected = [average * call_ms(work, 1 if decodes else 32) for work in treated]
    timed = [one.value for one in both.linears[1]]
    assert [v for i, v in enumerate(timed) if i != last] == pytest.approx(
        [v for i, v in enumerate(expected) if i != last]
    )


def test_the_pace_is_taken_again_when_that_was_long_ago(here: LocalTiming) -> None:
    both = assignments(here)
    before = here.decoding(both, 1, 32)
    Lawful.pace = 2.0
    assert here.decoding(both, 1, 32) == before
    room._TIMED.clear()
    after = here.decoding(both, 1, 32)
    average = 1 + room._EWMA_WEIGHT
    assert after.rest.value == pytest.approx(average * before.rest.value)
    for one, other in zip(after.linears, before.linears, strict=True):
        assert [time.value for time in one] == pytest.approx([average * time.value for time in other])


def test_between_and_beyond_two_contexts() -> None:
    points = {32: Estimate(1.0, 0.9, 1.2), 128: Estimate(2.0, 1.8, 2.4)}
    assert interpolated(points, 80).value == pytest.approx(1.5)
    assert interpolated(points, 224).value == pytest.approx(3.0)
    assert interpolated(points, 8) == points[32]
    assert interpolated({32: points[32]}, 999) == points[32]


def test_reading_grows_as_a_parabola() -> None:
    law = [Estimate(v, v, v) for v in (2 * 256 + 0.01 * 256**2, 2 * 512 + 0.01 * 512**2)]
    assert read_further(512, *law, 2000).value == pytest.approx(2 * 2000 + 0.01 * 2000**2)


def test_each_call_and_the_rest_are_told_apart_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ticking:
        """Every look at it is a millisecond later than the last."""

        def __init__(self, _: torch.device) -> None:
            self.now = 0.0

        def mark(self) -> float:
            self.now += 1.0
            return self.now

        def settle(self) -> None:
            pass

        def ms(self, first: float, last: float) -> float:
            return last - first

    monkeypatch.setattr(benchmark_room, "Clock", Ticking)
    target = latency_target_of(open_checkpoint(SAMPLE), CPU)
    benchmark = MicroBenchmark(target, NullProgress(), QUICK)
    dense = target.assignment({})
    cases = [Case({}, 1, 8, True), Case(benchmark.modules(dense, 1), 1, 8, True)]
    monkeypatch.setattr(benchmark_room, "SAMPLE_SECONDS", 0.0)
    silent, full = (samples[0] for samples in benchmark.run(cases))
    layers = len(target.linears)
    assert (silent.step_ms, silent.calls_ms) == (1.0, {})
    assert full.calls_ms == dict.fromkeys(set(dense), 1.0)
    assert (full.step_ms, full.rest_ms) == (2 * layers + 1, layers + 1)
