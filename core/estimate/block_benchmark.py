"""Benchmark of a blockwise run's parts with its own code: one block of random weights, few windows, few steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchvise.core.blockwise.batching import BATCH_TOKENS, Batching, T
from benchvise.core.blockwise.blockwise_run import compares
from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.context import BlockwiseJob
from benchvise.core.blockwise.embedding_and_head import EmbeddingAndHead
from benchvise.core.blockwise.kept_layers import record_changed
from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.recorder import Recorder
from benchvise.core.blockwise.run_blocks import BlockwiseStage, HiddenStates
from benchvise.core.blockwise.state import State, StateFile
from benchvise.core.blockwise.sub_progress import SubProgress
from benchvise.core.blockwise.transforming import Transforms
from benchvise.core.estimate.random_weights import StandInWeights
from benchvise.core.estimate.rates import BlockRates, NetworkRates
from benchvise.core.memory import PeakMemory, release_freed, rss_bytes
from benchvise.core.methods.solver import Nearest
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.solvers.learned_rounding import probes
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace

STEPS = 6
"""Of learning: the first three without a look at what it has come to, the last three each with one."""

WARMING_WINDOWS = 2
PASS_WORK = 2e11
"""Multiplications that the passes of one benchmark may take: seconds on an ordinary processor."""

SOLVE_WORK = 2e10
STATE_BYTES = 32 << 20
_DEFAULT_PASSES = 10

Timer = Callable[[], float]


@dataclass(frozen=True)
class BenchmarkSize:
    """How much of the real thing is tried. windows: of `tokens` each; `of` is how many the job will have."""

    windows: int
    tokens: int
    of: int


def scale_for(plan: Plan, blocks: int, windows: int, tokens: int) -> BenchmarkSize:
    """Four batches where a block of the plan's network is small, else as many windows as take seconds."""
    weights = plan.checkpoint.parameters / max(1, blocks)
    affordable = int(PASS_WORK / (_DEFAULT_PASSES * max(1.0, weights) * tokens))
    return BenchmarkSize(max(1, min(windows, 4 * BATCH_TOKENS // tokens, affordable)), tokens, windows)


class BlockBenchmark:
    """Tries out the parts of a plan's blockwise run. What it writes lies in `folder`, which the caller removes.

    drawn: names of layers outside the blocks that are needed with values: those that are treated or transformed.
    """

    def __init__(self, plan: Plan, folder: Path, scale: BenchmarkSize, clock: Timer = time.perf_counter) -> None:
        self.plan = plan
        self.scale = scale
        self.workspace = Workspace(str(folder))
        self._clock = clock
        self._progress = NullProgress()
        self._streams = 0
        if plan.calibration is not None:
            both = plan.recipe.calibration.inputs == "compressed" and compares(plan.treated_rows)
            self._streams = 2 if both else 1

    def network(self, blocks: Callable[[Network], Sequence[int]]) -> tuple[Network, NetworkRates]:
        """The network with stand-in weights, and what it took; `blocks` says which of its blocks get values."""
        layers = self.plan.checkpoint.layers
        release_freed()
        first = rss_bytes()
        network = Network(StandInWeights(self.plan.checkpoint, ()), self._progress)
        wanted = set(blocks(network))
        everywhere = any(transform.reach == "network" for transform in self.plan.recipe.transforms)
        treated = {row.layer.name for row in self.plan.treated_rows}
        drawn = {
            layer.name
            for layer in layers
            if (network.inside[layer.name] in wanted if layer.name in network.inside else everywhere)
            or (layer.name in treated and layer.name not in network.inside)
        }
        with torch.no_grad():  # what is built and run for the first time leaves something behind
            network.leave(network.enter(torch.ones(1, min(16, self.scale.tokens), dtype=torch.int64)))
        del network
        release_freed()
        before, started = rss_bytes(), self._clock()
        network = Network(StandInWeights(self.plan.checkpoint, drawn), self._progress)
        seconds = self._clock() - started
        own = sum(layer.parameters * 4 for layer in layers if layer.name in drawn and layer.name not in network.inside)
        nbytes = max(0, rss_bytes() - before - own)
        ids = torch.ones(self.scale.windows, self.scale.tokens, dtype=torch.int64)
        started = self._clock()
        hidden = network.enter(ids)
        entering = (self._clock() - started) / len(ids)
        state = self._state_seconds(hidden)
        return network, NetworkRates(seconds, nbytes, entering, state, max(0, before - first), network.whole)

    def block(self, network: Network, index: int, rows: Sequence[PlanRow]) -> BlockRates:
        """Block `index` under its rows' treatments: once on two windows to warm up, then with a clock."""
        chosen, factor = affordable(rows)
        transforms = Transforms(self.plan.recipe, network, self._progress)
        first = self._block(network, index, chosen, transforms, min(WARMING_WINDOWS, self.scale.windows))
        half = self.scale.windows // 2
        # From half as many windows to all of them, memory grows by what each holds; below a batch, by its own needs.
        fewer = (
            self._block(network, index, chosen, transforms, half) if half * self.scale.tokens >= BATCH_TOKENS else None
        )
        found = self._block(network, index, chosen, transforms, self.scale.windows)
        held = 0 if fewer is None else max(0, found.nbytes - fewer.nbytes) // (self.scale.windows - half)
        # What a transform finds out about one block serves all blocks that are similar.
        once = max(0.0, first.rest - found.rest) if transforms.some else 0.0
        widest = max((row.layer.matrix_shape[1] for row in rows), default=0) if factor > 1 else 0
        return replace(found, rest=found.rest * factor, once=once, nbytes=found.nbytes + 5 * 4 * widest**2, held=held)

    def embedding_and_head(self, network: Network, rows: Sequence[PlanRow]) -> BlockRates:
        """What lies before and behind the blocks, as if it were one more block."""
        run, job = self._job(network)
        text = None
        if self._streams:
            text = CalibrationText(torch.ones(self.scale.windows, self.scale.tokens, dtype=torch.int64))
        batching = _TimedBatching(self.scale.tokens, self._clock)

        def work() -> None:
            embedding_and_head = EmbeddingAndHead(job, rows, text)
            embedding_and_head.batching = batching
            self._change_ends(job)
            embedding_and_head.solve_before()
            embedding_and_head.solve_behind(self._hidden(network, self.scale.windows))

        try:
            seconds, added = self._measured(work)
        finally:
            run.leave()
        passed = batching.passed / self.scale.windows
        window = batching.seconds / self.scale.windows
        return BlockRates(seconds - batching.seconds, 0.0, window, passed, 0.0, 0.0, added)

    def recorded(self, network: Network, index: int, rows: Sequence[PlanRow]) -> RunRecord:
        """A run in which the block's treated layers are solved, each as if it were alone and without inputs."""
        plain = [replace(row, treatment=replace(row.treatment, solver=Nearest())) for row in rows]
        run, job = self._job(network)
        untouched = Transforms(replace(job.recipe, transforms=()), network, self._progress)
        stage = BlockwiseStage(job, untouched, HiddenStates(), Batching(self.scale.tokens, self._progress))
        stage.block(index, plain, SubProgress(self._progress, 1), onward=False)
        run.leave()
        return run

    def _block(
        self, network: Network, index: int, rows: Sequence[PlanRow], transforms: Transforms, windows: int
    ) -> BlockRates:
        run, job = self._job(network)
        batching = _TimedBatching(self.scale.tokens, self._clock)
        streams = self._hidden(network, windows)
        stage = BlockwiseStage(job, transforms, streams, batching)
        stopwatch = StepTimer(self._clock)
        if streams.shown is not None:
            network.run(index).arguments(windows, self.scale.tokens)
        try:
            seconds, added = self._measured(lambda: stage.block(index, rows, stopwatch, onward=True))
        finally:
            run.leave()
        step, probe, learning = stopwatch.learning()
        rest = max(0.0, seconds - batching.seconds - learning)
        passed, window = batching.passed / max(1, windows), batching.seconds / max(1, windows)
        return BlockRates(rest, 0.0, window, passed, step, probe, added)

    def _job(self, network: Network) -> tuple[RunRecord, BlockwiseJob]:
        run = self.workspace.new_run(self.plan)
        recorder = Recorder(run, self.workspace, "block benchmark", self._progress)
        return run, BlockwiseJob(self.plan.recipe, network, recorder, {}, self._progress)

    def _hidden(self, network: Network, windows: int) -> HiddenStates:
        if not self._streams:
            return HiddenStates()
        first = network.enter(torch.ones(1, self.scale.tokens, dtype=torch.int64))
        if network.whole:
            return HiddenStates(*(first.expand(windows, -1).clone() for _ in range(self._streams)))
        drawn = torch.randn(windows, *first.shape[1:], generator=torch.Generator().manual_seed(0)).to(first.device)
        return HiddenStates(drawn, drawn.clone() if self._streams > 1 else None)

    def _change_ends(self, job: BlockwiseJob) -> None:
        transforms = Transforms(self.plan.recipe, job.network, self._progress)
        if transforms.some:
            transforms.change_ends()
            treated = {row.layer.name for row in self.plan.treated_rows}
            outside = (layer for layer in self.plan.checkpoint.layers if layer.name not in job.network.inside)
            record_changed(job.network, (layer for layer in outside if layer.name not in treated), job.recorder)

    def _measured(self, work: Callable[[], object]) -> tuple[float, int]:
        """Seconds, and the most memory that was added meanwhile."""
        release_freed()
        before = rss_bytes()
        with PeakMemory() as peak:
            started = self._clock()
            work()
            seconds = self._clock() - started
        return seconds, max(0, peak.bytes - before)

    def _state_seconds(self, hidden: Tensor) -> float:
        """Per byte of hidden states that are kept on the disk."""
        rows = max(1, min(self.scale.of * hidden[0].nbytes, STATE_BYTES) // max(1, hidden[0].nbytes))
        kept = torch.zeros(rows, *hidden.shape[1:])
        self.workspace.path.mkdir(parents=True, exist_ok=True)
        file = StateFile(self.workspace.path, "block benchmark")
        started = self._clock()
        file.save(State(1, {"original": kept}))
        seconds = self._clock() - started
        file.remove()
        return seconds / kept.nbytes


class StepTimer(SubProgress):
    """Progress of nothing, which notes when each step of learning was done."""

    def __init__(self, clock: Timer, steps: list[float] | None = None) -> None:
        super().__init__(NullProgress(), 0)
        self._clock = clock
        self._steps = [] if steps is None else steps
        self._counts = False

    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        self._counts = unit == "steps"

    def advance(self, units: int) -> None:
        super().advance(units)
        if self._counts:
            self._steps.append(self._clock())

    def part(self, fraction: float) -> StepTimer:  # noqa: ARG002 - nothing has no parts
        return StepTimer(self._clock, self._steps)

    def learning(self) -> tuple[float, float, float]:
        """Seconds for a step, for a look at what learning has come to, and for all steps and such looks there were."""
        if len(self._steps) < STEPS:
            return 0.0, 0.0, 0.0
        times = [later - earlier for earlier, later in zip(self._steps[: STEPS - 1], self._steps[1:STEPS], strict=True)]
        looked = [probes(STEPS - number, STEPS) for number in range(1, STEPS)]
        step = median(each for each, look in zip(times, looked, strict=True) if not look)
        probe = max(0.0, median(each for each, look in zip(times, looked, strict=True) if look) - step)
        rounds = len(self._steps) / STEPS
        return step, probe, rounds * (STEPS * step + sum(probes(left, STEPS) for left in range(1, STEPS + 1)) * probe)


class _TimedBatching(Batching):
    """Batches that note how many windows passed through and how long all of that took."""

    def __init__(self, tokens: int, clock: Timer) -> None:
        super().__init__(tokens, NullProgress())
        self.seconds = 0.0
        self.passed = 0
        self._clock = clock

    def run(self, windows: int, compute: Callable[[slice], T], take: Callable[[slice, T], None]) -> None:
        started = self._clock()
        super().run(windows, compute, take)
        self.seconds += self._clock() - started
        self.passed += windows


def affordable(rows: Sequence[PlanRow]) -> tuple[list[PlanRow], float]:
    """The rows as they are tried out, with cheap stand-ins for solvers that would take too long; and by what the time
    for solving is to be multiplied then."""
    work = {row.layer.name: solving_work(row) for row in rows}
    chosen: list[PlanRow] = []
    spent = 0.0
    for row in sorted(rows, key=lambda row: work[row.layer.name]):
        solver = tried(row).solver
        if chosen and spent + work[row.layer.name] > SOLVE_WORK:
            solver = solver.cheaper
        else:
            spent += work[row.layer.name]
        chosen.append(replace(row, treatment=replace(row.treatment, solver=solver)))
    total = sum(work.values())
    order = {row.layer.name: place for place, row in enumerate(rows)}
    return sorted(chosen, key=lambda row: order[row.layer.name]), total / spent if spent else 1.0


def tried(row: PlanRow) -> Treatment:
    """The row's treatment as it is tried out: with few steps of learning, however many it asks for."""
    return replace(row.treatment, solver=row.treatment.solver.shortened(STEPS))


def solving_work(row: PlanRow) -> float:
    """About how many multiplications solving the layer takes: those of its inputs' moments where they are factored."""
    outputs, inputs = row.layer.matrix_shape
    if row.treatment.solver.factors_moments:
        return inputs**3 + outputs * float(inputs) ** 2
    return 100.0 * outputs * inputs
