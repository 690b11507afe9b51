"""The parts of a job with their seconds and bytes, from what is counted and what was tried out.

Rates are kept by what they depend on: the network's config, the shapes and treatments of a block, windows, settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchvise.core.estimate import layer_benchmark, polish_benchmark
from benchvise.core.estimate.block_benchmark import BenchmarkSize
from benchvise.core.estimate.block_kinds import digest, layer_kind
from benchvise.core.estimate.rates import BlockRates, KnownRates, LayerRates
from benchvise.core.estimate.reading_text import ReadingText
from benchvise.core.estimate.tried_blocks import TriedBlocks
from benchvise.core.estimate.workload import Learning, held_streams, learning_of, streams_of, tuning_workload
from benchvise.core.job.job import learns, walks
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.solvers.learned_rounding import probed_windows
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.workspace.workspace import Workspace

Parts = tuple[tuple[str, float], ...]
Bytes = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CostEstimate:
    """Seconds by part, and bytes that are added to the process when most is in memory.

    stream_bytes: of one hidden state for all tokens. notes: as sentences.
    """

    seconds: Parts
    memory: Bytes
    stream_bytes: int = 0
    notes: tuple[str, ...] = ()

    def beginning(self, seconds: float) -> CostEstimate:
        """With what comes before all of it."""
        return replace(self, seconds=(("opening and beginning", seconds), *self.seconds))


class StreamingCostModel:
    """For layers that are treated one by one, each for itself."""

    def __init__(self, plan: Plan, rates: KnownRates, folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._rates = rates
        self._workspace = Workspace(str(folder))
        self._progress = progress

    def estimate(self) -> CostEstimate:
        rows = self._plan.treated_rows
        self._workspace.layers.mkdir(parents=True, exist_ok=True)
        kinds: dict[str, list[PlanRow]] = {}
        for row in rows:
            kinds.setdefault(layer_kind(row), []).append(row)
        self._progress.start(len(kinds), "trials")
        solving, added = 0.0, 0
        for key, similar in kinds.items():
            self._progress.check_cancelled()
            found = self._rates.get(LayerRates, key, lambda row=similar[0]: self._try(row))  # type: ignore[misc]
            solving += sum(found.seconds * row.layer.nbytes / max(1, found.nbytes) for row in similar)
            added = max(added, found.added)
            self._progress.advance(1)
        return CostEstimate((("layers", solving),), (("the layer at work", added),))

    def _try(self, row: PlanRow) -> LayerRates:
        return layer_benchmark.benchmark_layer(row, weights_of(self._plan.operated.provisional), self._workspace)


class BlockwiseCostModel:
    """For a walk from block to block, and for tuning: facts of text and network → rates of what is tried → estimate."""

    def __init__(self, plan: Plan, rates: KnownRates, folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._alone = StreamingCostModel(plan, rates, folder, progress)
        self._learns = learns(plan)
        config: Any = architecture_of(plan.checkpoint).config
        model = digest(plan.checkpoint.config, sorted({layer.dtype for layer in plan.checkpoint.layers}))
        self._vocabulary = int(getattr(config.get_text_config(), "vocab_size", 1))
        self._text = ReadingText(plan, rates, model, config)
        self._calibrating = self._text.calibrating
        self._tried = TriedBlocks(plan, rates, model, self._calibrating, folder, progress)

    def estimate(self) -> CostEstimate:
        walked = self._walk() if walks(self._plan) else None
        if walked is None:
            alone = self._alone.estimate()
            walked = replace(alone, seconds=(*self._reading, *alone.seconds))
        for step in self._plan.recipe.tuning:
            seconds, memory = self._tuning(step)
            larger = max(walked.memory, memory, key=lambda parts: sum(nbytes for _, nbytes in parts))
            notes = walked.notes if polish_benchmark.part_of(step) else (*walked.notes, _as_polish(step))
            walked = replace(walked, seconds=(*walked.seconds, *seconds), memory=larger, notes=notes)
        return walked

    @property
    def _reading(self) -> Parts:
        return (("reading the text", self._text.seconds),) if self._plan.calibration is not None else ()

    def _walk(self) -> CostEstimate:
        tried, network, calibrating = self._tried, self._tried.network_rates, self._calibrating
        streams, windows = streams_of(self._plan, learns=self._learns), calibrating.windows
        passes = learning = rest = once = 0.0
        largest = 0
        last = len(tried.blocks) - 1
        for index, rows in enumerate(tried.blocks):
            found = tried.of_block(index)
            onward = index < last or bool(tried.outside)
            # Behind the last block nothing needs its outputs.
            spared = 0 if onward or not self._learns or not found.passes else 1 / found.passes
            passes += found.window * windows * (1 - min(1.0, spared))
            learning += sum(learning_seconds(found, each, tried.scale) for each in learning_of(rows, windows))
            rest += found.rest
            once = max(once, found.once)
            largest = max(largest, found.nbytes + found.held * max(0, windows - tried.scale.windows))
        embedding_and_head = tried.embedding_and_head if tried.outside or self._plan.recipe.transforms else None
        kept = streams * calibrating.stream_bytes * (len(tried.blocks) + 1) * network.state
        seconds: list[tuple[str, float]] = [
            *self._reading,
            ("building the network", network.seconds),
            ("calibration passes", passes + network.entering * windows * streams),
            ("solving layers", rest + once),
            ("learning", learning),
            ("keeping activations", kept),
        ]
        if embedding_and_head is not None:
            seconds.append(("embeddings and head", embedding_and_head.rest + embedding_and_head.window * windows))
            largest = max(largest, embedding_and_head.nbytes)
        held = held_streams(self._plan, learns=self._learns)
        memory = (
            ("what stays loaded", network.warm_bytes if tried.fresh else 0),
            ("the network outside its blocks", network.nbytes + 4 * tried.resident),
            ("a block at work", largest),
            ("activations", held * calibrating.stream_bytes),
            ("left from reading the text", self._text.left),
        )
        seconds = [part for part in seconds if part[1] > 0]
        return CostEstimate(tuple(seconds), memory, calibrating.stream_bytes, tried.notes)

    def _tuning(self, settings: Tuning) -> tuple[Parts, Bytes]:
        tried, network = self._tried, self._tried.network_rates
        work = tuning_workload(settings, self._text.of_samples(settings.samples), self._vocabulary)
        windows = max(1, min(work.step_windows, tried.scale.windows))
        head = tried.of_loss(self._vocabulary)
        found = [head, *(tried.of_tuning(settings, index, windows) for index in range(len(tried.blocks)))]
        steps = sum(each.step * work.step_windows + each.decode for each in found) * work.steps
        forwards = sum(each.forward for each in found) * (work.forwards + work.judged)
        forwards += sum(each.decode for each in found) * work.batches
        loads = 2 * network.seconds + sum(2 * each.load + each.record for each in found)
        parameters = self._plan.checkpoint.parameters
        outside = tried.kept_outside if settings.trains_kept else 0
        each_value = 4 * (polish_benchmark.OPTIMISER_COPIES + work.copies)
        tuned = sum(each.parts + 4 * work.copies * each.trained for each in found) + each_value * outside
        memory = (
            ("what stays loaded", network.warm_bytes if tried.fresh else 0),
            ("the original and the compressed network", 2 * 4 * parameters),
            ("what is tuned", tuned),
            ("weights decoded for a step", sum(each.working for each in found)),
            ("kept for the way back", sum(each.saved for each in found) * work.at_once),
            ("the original's outputs", work.cached),
            ("left from reading the text", self._text.left),
        )
        return (
            (f"{settings.key}: steps", steps),
            (f"{settings.key}: original and judging", forwards),
            (f"{settings.key}: loading", loads),
        ), memory


def _as_polish(step: Tuning) -> str:
    return f"Each step of '{step.title}' is taken to cost what a step of polish costs"


def learning_seconds(found: BlockRates, learning: Learning, scale: BenchmarkSize) -> float:
    """Of one block, from a benchmark on fewer windows: a step and a look take as long as the windows they see."""
    tried = max(1, min(learning.step_windows, scale.windows))
    looked = len(probed_windows(scale.windows))
    steps = learning.steps * found.step * learning.step_windows / tried
    return steps + learning.looks * found.probe * learning.look_windows / looked
